/** Scales, ticks and paths of the charts. Pure. */
import { ticks } from './gantt';

/**
 * The top of an axis of seconds. A single run that took far longer than the others would flatten all of them, so that
 * the axis ends at twice the 95th percentile when the longest is more than four times of it; such bars are cut.
 */
export function axisTop(values: readonly (number | null)[]): number {
  const sorted = values.filter((value): value is number => value !== null && value > 0).sort((a, b) => a - b);
  const longest = sorted.at(-1) ?? 0;
  const p95 = sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 0;
  if (longest === 0) return 1;
  return sorted.length >= 20 && longest > 4 * p95 ? 2 * p95 : longest * 1.05;
}

/** Seconds at which an axis has a line: round numbers, below a few seconds tenths and hundredths too. */
export function axisTicks(top: number): number[] {
  if (top >= 5) return ticks(top, 5);
  const step = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].find((size) => top / size <= 5) ?? 1;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, n) => Number((n * step).toFixed(3)));
}

/** The middle of the values; the mean of the middle two of an even number; `null` without any. */
export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return null;
  return sorted.length % 2 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2;
}

/** Each value replaced by the median of the `window` values around it; missing ones stay missing. */
export function rollingMedian(values: readonly (number | null)[], window: number): (number | null)[] {
  const half = Math.floor(window / 2);
  return values.map((value, index) => {
    if (value === null) return null;
    const near = values.slice(Math.max(0, index - half), index + half + 1);
    return median(near.filter((one): one is number => one !== null));
  });
}

/** Which of `count` equal places lies at `x` of a width; `null` outside. */
export function placeAt(x: number, width: number, count: number): number | null {
  const index = Math.floor((x / width) * count);
  return count > 0 && width > 0 && index >= 0 && index < count ? index : null;
}

/** Which places get a label below the axis: about one in each `gap` pixels, the last one always. */
export function labelPlaces(count: number, width: number, gap = 120): number[] {
  if (count === 0) return [];
  const most = Math.max(1, Math.floor(width / gap));
  const step = Math.max(1, Math.ceil(count / most));
  const places: number[] = [];
  for (let at = count - 1; at >= 0; at -= step) places.push(at);
  return places.reverse();
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One path of many boxes: thousands of bars are one element a colour. */
export function boxesPath(boxes: readonly Box[]): string {
  return boxes
    .map(
      ({ x, y, width, height }) =>
        `M${fixed(x)} ${fixed(y)}h${fixed(width)}v${fixed(height)}h${fixed(-width)}z`,
    )
    .join('');
}

/** A line through points; it is broken where a point is missing. */
export function linePath(points: readonly ({ x: number; y: number } | null)[]): string {
  let path = '';
  let drawing = false;
  for (const point of points) {
    if (point) path += `${drawing ? 'L' : 'M'}${fixed(point.x)} ${fixed(point.y)}`;
    drawing = point !== null;
  }
  return path;
}

function fixed(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** The place to which a key leads; `null` when the key means nothing to a chart. */
export function movePlace(at: number, count: number, key: string): number | null {
  const last = count - 1;
  const page = Math.max(1, Math.round(count / 10));
  const to: Record<string, number> = {
    ArrowLeft: at - 1,
    ArrowDown: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at + 1,
    PageDown: at - page,
    PageUp: at + page,
    Home: 0,
    End: last,
  };
  const next = to[key];
  return next === undefined || count === 0 ? null : Math.max(0, Math.min(last, next));
}
