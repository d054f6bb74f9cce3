/** Checks the conf that a user types for a run. */

export const CONF_LIMIT_BYTES = 1024 * 1024;

export type ConfCheck =
  { ok: true; value: Record<string, unknown> } | { ok: false; message: string; fix: string };

/** An empty text is an empty object. Otherwise it must be one JSON object of at most 1 MiB. */
export function checkConf(text: string): ConfCheck {
  if (text.trim() === '') return { ok: true, value: {} };
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > CONF_LIMIT_BYTES) {
    return {
      ok: false,
      message: `conf is ${(bytes / 1024 / 1024).toFixed(1)} MiB; the limit is 1 MiB.`,
      fix: 'Put large data into a file or table and pass its address in conf.',
    };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, message: `Not valid JSON${whereOf(error, text)}.`, fix: hintFor(text) };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {
      ok: false,
      message: `conf must be an object, not ${kindOf(value)}.`,
      fix: 'Wrap it with a name, for example {"value": …}.',
    };
  }
  return { ok: true, value: value as Record<string, unknown> };
}

function whereOf(error: unknown, text: string): string {
  const message = error instanceof Error ? error.message : '';
  const position = /position (\d+)/.exec(message)?.[1];
  if (position === undefined) return /end of JSON|unterminated/i.test(message) ? ': it ends too early' : '';
  const before = text.slice(0, Number(position));
  const line = before.split('\n').length;
  const column = before.length - before.lastIndexOf('\n');
  return ` at line ${line}, column ${column}`;
}

function hintFor(text: string): string {
  if (/'[^']*'\s*:/.test(text)) return 'JSON uses double quotes: {"day": 1}, not {\'day\': 1}.';
  if (/,\s*[}\]]/.test(text)) return 'Remove the comma after the last value.';
  if (/\b(True|False|None)\b/.test(text)) return 'JSON writes true, false and null.';
  return 'Check that brackets and quotes are closed and that names are in double quotes.';
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return `a ${typeof value}`;
}
