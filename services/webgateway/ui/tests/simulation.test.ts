import { afterEach, expect, test } from 'vitest';
import { limitWords, markAt, rowLength, rowsOf, waitSeconds } from '../src/lib/simulation';

process.env.TZ = 'UTC';
afterEach(() => {
  process.env.TZ = 'UTC';
});

const run = (due: string, start: string | null, end: string | null) => ({
  dag_id: 'etl',
  run_id: `scheduled__${due}`,
  logical_date: due,
  due_time: due,
  start_time: start,
  end_time: end,
  state: end ? 'success' : 'running',
  task_count: 1,
  partition_key: '',
});
const DAY = 86_400_000;

test('a run over midnight lies in both days, and its wait before it', () => {
  const rows = rowsOf(
    [run('2026-03-01T12:00:00Z', '2026-03-01T18:00:00Z', '2026-03-02T06:00:00Z')],
    DAY,
    '2026-03-03T00:00:00Z',
  );
  expect(rows.map((row) => new Date(row.start).toISOString().slice(0, 10))).toEqual([
    '2026-03-01',
    '2026-03-02',
  ]);
  expect(rows[0]?.lanes.flat().map((piece) => [piece.waits, piece.left, piece.width])).toEqual([
    [true, 0.5, 0.25],
    [false, 0.75, 0.25],
  ]);
  expect(rows[1]?.lanes.flat().map((piece) => [piece.waits, piece.left, piece.width])).toEqual([
    [false, 0, 0.25],
  ]);
});

test('runs that overlap lie in lanes, others share one', () => {
  const at = (hour: number) => `2026-03-01T${String(hour).padStart(2, '0')}:00:00Z`;
  const rows = rowsOf(
    [run(at(0), at(0), at(6)), run(at(3), at(3), at(9)), run(at(6), at(6), at(7))],
    DAY,
    '2026-03-02T00:00:00Z',
  );
  expect(rows[0]?.lanes.map((lane) => lane.map((piece) => piece.run.due_time))).toEqual([
    [at(0), at(6)],
    [at(3)],
  ]);
});

test('what has not ended lasts to the end; what has not started only waits', () => {
  const rows = rowsOf(
    [run('2026-03-01T00:00:00Z', '2026-03-01T00:00:00Z', null), run('2026-03-01T06:00:00Z', null, null)],
    DAY,
    '2026-03-01T12:00:00Z',
  );
  expect(rows.flatMap((row) => row.lanes.flat()).map((piece) => [piece.waits, piece.width])).toEqual([
    [false, 0.5],
    [true, 0.25],
  ]);
});

test('days are those of the zone, and as long as its clock says', () => {
  process.env.TZ = 'Europe/Berlin';
  const rows = rowsOf(
    [run('2026-03-28T22:30:00Z', '2026-03-28T22:30:00Z', '2026-03-29T22:00:00Z')],
    DAY,
    '2026-04-03T00:00:00Z',
  );
  expect(rows.map((row) => [new Date(row.start).toISOString(), (row.end - row.start) / 3_600_000])).toEqual([
    ['2026-03-27T23:00:00.000Z', 24],
    ['2026-03-28T23:00:00.000Z', 23],
  ]);
  expect(rows[1]?.lanes.flat().map((piece) => [piece.left, piece.width])).toEqual([[0, 1]]);
  expect(rows.map((row) => markAt(row, 6, true))).toEqual([0.25, 5 / 23]);
});

test('hours of a zone with half an hour begin at its full hours', () => {
  process.env.TZ = 'Asia/Kolkata';
  const rows = rowsOf(
    [run('2026-03-01T06:40:00Z', '2026-03-01T06:45:00Z', '2026-03-01T07:00:00Z')],
    3_600_000,
    '2026-03-02T00:00:00Z',
  );
  expect(rows.map((row) => new Date(row.start).toISOString().slice(11, 16))).toEqual(['06:30']);
  expect(rows[0] && markAt(rows[0], 15, false)).toBe(0.25);
});

test('what has not started has waited for nothing yet that could be told', () => {
  expect(waitSeconds(run('2026-03-01T06:00:00Z', '2026-03-01T06:05:00Z', null))).toBe(300);
  expect(waitSeconds(run('2026-03-01T06:00:00Z', null, null))).toBe(0);
});

test('short periods have rows of hours', () => {
  expect(rowLength('2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z')).toBe(3_600_000);
  expect(rowLength('2026-03-01T00:00:00Z', '2026-03-08T00:00:00Z')).toBe(DAY);
});

test('limits are told in words', () => {
  expect(limitWords({ kind: 'pool', name: 'db', limit: 4 })).toBe('slots of pool db (4)');
});
