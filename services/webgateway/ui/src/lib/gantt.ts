/** Time axis of a Gantt chart. */

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/** Seconds from the start at which to draw a line: at most `most` of them, at round distances. */
export function ticks(seconds: number, most = 8): number[] {
  const step = STEPS.find((size) => seconds / size <= most) ?? Math.ceil(seconds / most / 86_400) * 86_400;
  const list: number[] = [];
  for (let at = 0; at <= seconds; at += step) list.push(at);
  return list;
}
