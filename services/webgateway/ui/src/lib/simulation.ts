/** A simulated period as rows of days (or hours), each with the pieces of runs that lie in it. Pure. */
import type { SimulatedRun } from '../queries/simulation';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export interface Piece {
  run: SimulatedRun;
  /** Share of the row, 0 to 1. */
  left: number;
  width: number;
  /** Whether the run waits in this piece: it is due and has not started. */
  waits: boolean;
}

export interface Row {
  /** A day or hour of the browser's zone, ms; a day has 23 or 25 hours when the clock changes. */
  start: number;
  end: number;
  /** Pieces that would cover each other lie in lanes below each other. */
  lanes: Piece[][];
}

/** How long a row is, ms: a day, or an hour for a period of two days at most. */
export function rowLength(start: string, end: string): number {
  return Date.parse(end) - Date.parse(start) > 2 * DAY_MS ? DAY_MS : HOUR_MS;
}

/** Rows of days or hours in the browser's zone, those that have a run. `end`: of runs that have not ended. */
export function rowsOf(runs: SimulatedRun[], length: number, end: string): Row[] {
  const rows = new Map<number, Row>();
  const add = (run: SimulatedRun, from: number, to: number, waits: boolean) => {
    for (let at = rowStart(from, length); at <= to; at = rowEnd(at, length)) {
      const next = rowEnd(at, length);
      const first = Math.max(from, at);
      const last = Math.min(to, next);
      if (last < first || (last === first && from !== to)) continue;
      const row = rows.get(at) ?? { start: at, end: next, lanes: [] };
      rows.set(at, row);
      const piece = { run, left: (first - at) / (next - at), width: (last - first) / (next - at), waits };
      place(row, piece);
    }
  };
  for (const run of runs) {
    const due = Date.parse(run.due_time);
    const start = Date.parse(run.start_time ?? end);
    const stop = Date.parse(run.end_time ?? end);
    if (start > due) add(run, due, start, true);
    if (run.start_time) add(run, start, stop, false);
  }
  return [...rows.values()].sort((a, b) => a.start - b.start);
}

function rowStart(at: number, length: number): number {
  const date = new Date(at);
  return length >= DAY_MS ? date.setHours(0, 0, 0, 0) : date.setMinutes(0, 0, 0);
}

function rowEnd(start: number, length: number): number {
  if (length < DAY_MS) return start + length;
  const date = new Date(start);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
}

/** Where an hour of the day (or a minute of the hour) is in its row: 0 to 1. */
export function markAt(row: Pick<Row, 'start' | 'end'>, mark: number, days: boolean): number {
  const date = new Date(row.start);
  const at = days ? date.setHours(mark, 0, 0, 0) : date.setMinutes(mark, 0, 0);
  return (at - row.start) / (row.end - row.start);
}

const MOST_LANES = 6;

function place(row: Row, piece: Piece) {
  const free = row.lanes.find((lane) => {
    const before = lane.at(-1);
    return !before || before.run === piece.run || before.left + before.width <= piece.left;
  });
  if (free) free.push(piece);
  else if (row.lanes.length < MOST_LANES) row.lanes.push([piece]);
  else row.lanes.at(-1)?.push(piece);
}

/** How long a run is due before it starts; 0 for one that has not. */
export function waitSeconds(run: SimulatedRun): number {
  return run.start_time ? Math.max(0, (Date.parse(run.start_time) - Date.parse(run.due_time)) / 1000) : 0;
}

const KINDS: Record<string, string> = {
  max_active_runs: 'max_active_runs of',
  max_active_tasks: 'max_active_tasks of',
  max_active_tis: 'max_active_tis_per_dag(run) of',
  pool: 'slots of pool',
};

/** "max_active_runs of etl (16)". */
export function limitWords(limit: { kind: string; name: string; limit: number }): string {
  return `${KINDS[limit.kind] ?? limit.kind} ${limit.name} (${limit.limit.toLocaleString()})`;
}
