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
  start: number;
  /** Pieces that would cover each other lie in lanes below each other. */
  lanes: Piece[][];
}

/** How long a row is, ms: a day, or an hour for a period of two days at most. */
export function rowLength(start: string, end: string): number {
  return Date.parse(end) - Date.parse(start) > 2 * DAY_MS ? DAY_MS : HOUR_MS;
}

/** Rows in UTC from the first to the last that has a run. `end`: of runs that have not ended. */
export function rowsOf(runs: SimulatedRun[], length: number, end: string): Row[] {
  const rows = new Map<number, Row>();
  const add = (run: SimulatedRun, from: number, to: number, waits: boolean) => {
    for (let at = Math.floor(from / length) * length; at <= to; at += length) {
      const first = Math.max(from, at);
      const last = Math.min(to, at + length);
      if (last < first || (last === first && from !== to)) continue;
      const row = rows.get(at) ?? { start: at, lanes: [] };
      rows.set(at, row);
      const piece = { run, left: (first - at) / length, width: (last - first) / length, waits };
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
