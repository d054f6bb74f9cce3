/** Times and durations in words. Inputs are ISO 8601 text in UTC or `null`; durations are seconds. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export function parseTime(value: string | null | undefined): Date | null {
  if (!value) return null;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** "4 ms", "0.42 s", "12 s", "3m 05s", "2h 07m", "1d 03h"; an em dash when unknown. */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds) || seconds < 0) return '—';
  if (seconds === 0) return '0 s';
  if (seconds < 0.1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${seconds < 1 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}m ${pad(whole % MINUTE)}s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)}h ${pad(Math.floor((whole % HOUR) / MINUTE))}m`;
  return `${Math.floor(whole / DAY)}d ${pad(Math.floor((whole % DAY) / HOUR))}h`;
}

/** "now", "12 s ago", "in 5 min", "3 h ago", "in 2 d"; a date when more than 30 days away. */
export function formatRelative(value: string | null | undefined, now: number): string {
  const date = parseTime(value);
  if (!date) return '—';
  const delta = (date.getTime() - now) / 1000;
  const size = Math.abs(delta);
  let text: string;
  if (size < 3) return 'now';
  if (size < MINUTE) text = `${Math.floor(size)} s`;
  else if (size < HOUR) text = `${Math.floor(size / MINUTE)} min`;
  else if (size < DAY) text = `${Math.floor(size / HOUR)} h`;
  else if (size < 30 * DAY) text = `${Math.floor(size / DAY)} d`;
  else return formatLocalDate(date);
  return delta < 0 ? `${text} ago` : `in ${text}`;
}

function formatLocalDate(date: Date): string {
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** "2026-11-27 08:30:05" in the zone of the browser. */
export function formatLocal(value: string | null | undefined): string {
  const date = parseTime(value);
  if (!date) return '—';
  return `${formatLocalDate(date)} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** "Europe/Berlin": the zone of the browser. */
export function zoneName(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** A text with its ISO times in UTC as `formatLocal` writes them; those within ids stay as they are. */
export function withLocalTimes(text: string): string {
  return text.replace(
    /(?<![\w./~:+-])\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)(?![\w/~:+-])/g,
    (found) => formatLocal(found),
  );
}

/** "2026-11-27 08:30:05 UTC", for hovers. */
export function formatUtc(value: string | null | undefined): string {
  const date = parseTime(value);
  return date ? `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC` : '';
}

/** "08:30:05.123" in the zone of the browser, for log lines. */
export function formatClock(value: string | null | undefined): string {
  const date = parseTime(value);
  if (!date) return '';
  const millis = String(date.getMilliseconds()).padStart(3, '0');
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${millis}`;
}

/** Seconds between start and end, or until `now` while it runs. */
export function elapsedSeconds(
  start: string | null | undefined,
  end: string | null | undefined,
  now: number,
): number | null {
  const from = parseTime(start);
  if (!from) return null;
  const to = parseTime(end)?.getTime() ?? now;
  return Math.max(0, (to - from.getTime()) / 1000);
}

export function formatBytes(bytes: number | null | undefined): string {
  if (bytes == null) return '—';
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
