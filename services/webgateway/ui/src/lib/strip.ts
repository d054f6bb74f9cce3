/** Heights of the bars in a strip of runs. */

export const STRIP_SLOTS = 25;

/**
 * Heights in pixels for durations in seconds. The square root keeps a run of ten seconds visible beside one of
 * an hour; the longest fills `full`, and nothing is below `least`. Unknown durations get `least`.
 */
export function barHeights(durations: readonly (number | null)[], full: number, least: number): number[] {
  const longest = Math.max(0, ...durations.map((seconds) => seconds ?? 0));
  return durations.map((seconds) => {
    if (seconds == null || longest <= 0) return least;
    const height = Math.round(Math.sqrt(Math.max(0, seconds) / longest) * full);
    return Math.min(full, Math.max(least, height));
  });
}

/** Index of the bar under a pointer at `x` pixels, or `null` outside; the newest is at the right edge. */
export function barAt(x: number, count: number, slot: number, slots = STRIP_SLOTS): number | null {
  const index = Math.floor(x / slot) - (slots - count);
  return index >= 0 && index < count ? index : null;
}
