/** Small changes to texts of the gateway so that they read well in a page. */

/** "it has no schedule" is "It has no schedule". */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "user:ana" is "ana"; programs keep their kind. */
export function actorName(actor: string): string {
  return actor.replace(/^user:/, '');
}
