/** A year of days and what happened on each. Dates are text, "2026-11-27", and have no zone of their own. Pure. */
import { stateLabel, worstState, type RunState } from './states';

const DAY_MS = 86_400_000;

export type Counts = Partial<Record<RunState, number>>;

const utc = (date: string) => Date.parse(`${date}T00:00:00Z`);
const text = (time: number) => new Date(time).toISOString().slice(0, 10);

/** Monday is 0. */
export function weekday(date: string): number {
  return (new Date(utc(date)).getUTCDay() + 6) % 7;
}

/** Columns of seven days from Monday; days of other years are `null`. */
export function weeksOf(year: number): (string | null)[][] {
  const first = utc(`${year}-01-01`);
  const last = utc(`${year}-12-31`);
  const weeks: (string | null)[][] = [];
  for (let at = first - weekday(text(first)) * DAY_MS; at <= last; at += 7 * DAY_MS)
    weeks.push(
      Array.from({ length: 7 }, (_, day) => {
        const time = at + day * DAY_MS;
        return time >= first && time <= last ? text(time) : null;
      }),
    );
  return weeks;
}

/** In which column each month begins. */
export function monthColumns(weeks: (string | null)[][]): { column: number; month: number }[] {
  return weeks.flatMap((week, column) => {
    const begins = week.find((date) => date?.endsWith('-01'));
    return begins ? [{ column, month: Number(begins.slice(5, 7)) - 1 }] : [];
  });
}

const STEPS: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -7, ArrowRight: 7 };

/** The day to which a key leads from `date`, within its year; `null` when the key means nothing here. */
export function moveDay(date: string, key: string): string | null {
  const year = date.slice(0, 4);
  if (key === 'Home') return `${year}-01-01`;
  if (key === 'End') return `${year}-12-31`;
  const step = STEPS[key];
  if (step === undefined) return null;
  const next = text(utc(date) + step * DAY_MS);
  return next.startsWith(year) ? next : date;
}

export function countOf(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** The state that most runs of the day have; of equals the one that needs attention more. */
export function mainState(counts: Counts): RunState | null {
  const most = Math.max(0, ...Object.values(counts));
  const found = (Object.keys(counts) as RunState[]).filter((state) => most > 0 && counts[state] === most);
  return worstState(found) as RunState | null;
}

/** "Fri 27 Nov 2026: 3 runs, 2 success, 1 failed", or what is planned. */
export function dayLabel(date: string, counts: Counts | undefined, planned: number): string {
  const day = new Date(utc(date)).toLocaleDateString('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    timeZone: 'UTC',
  });
  const parts: string[] = [];
  const total = counts ? countOf(counts) : 0;
  if (counts && total > 0) {
    parts.push(`${total} ${total === 1 ? 'run' : 'runs'}`);
    for (const state of ['failed', 'running', 'queued', 'success'] as const)
      if (counts[state]) parts.push(`${counts[state]} ${stateLabel(state).toLowerCase()}`);
  }
  if (planned > 0) parts.push(`${planned} planned`);
  return `${day}: ${parts.join(', ') || 'no run'}`;
}

/** How many of these moments (ISO) lie on each date of a time zone. */
export function byDate(moments: Iterable<string>, timezone: string): Map<string, number> {
  const format = dateFormat(timezone);
  const found = new Map<string, number>();
  for (const moment of moments) {
    const date = format(moment);
    found.set(date, (found.get(date) ?? 0) + 1);
  }
  return found;
}

/** Today in a time zone. */
export function today(timezone: string): string {
  return dateFormat(timezone)(new Date().toISOString());
}

function dateFormat(timezone: string): (moment: string) => string {
  // Swedish dates are ISO dates.
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: timezone });
  return (moment) => format.format(new Date(moment));
}

const MOST_PLANNED = 1000;
const MOST_DAYS = 62;

/** For how many days planned runs are asked for: as many as about 1,000 runs take, by how many the next day has. */
export function daysToPlan(nextDay: number): number {
  return nextDay === 0 ? MOST_DAYS : Math.max(1, Math.min(MOST_DAYS, Math.floor(MOST_PLANNED / nextDay)));
}
