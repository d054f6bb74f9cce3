import { expect, it } from 'vitest';
import { headline, nameOf, placeOf } from '../src/lib/why';
import type { Explanation, Party, Reason } from '../src/queries/client';

const reason = (message: string, fields: Partial<Reason> = {}): Reason => ({
  code: 'POOL_FULL',
  message,
  since: null,
  until: null,
  holders: [],
  holder_count: 0,
  fix: '',
  waiting: [],
  waiting_count: 0,
  note: false,
  ...fields,
});

const explanation = (...reasons: Reason[]): Explanation => ({
  subject: { dag_id: 'etl', run_id: 'r1', task_id: '', map_index: null },
  state: 'running',
  reasons,
  time: '2026-11-27T08:00:00Z',
  partition: 'spinner_tier_1_0',
});

const party = (kind: string, name: string, fields: Partial<Party> = {}): Party => ({
  kind,
  name,
  dag_id: '',
  run_id: '',
  task_id: '',
  map_index: -1,
  try_number: 0,
  state: '',
  since: null,
  ...fields,
});

it('sums up the first reason that holds something, and counts the others', () => {
  const note = reason('it fails at noon', { note: true });
  expect(headline(explanation(note, reason('the pool is full'), reason('it is paused')))).toBe(
    'The pool is full — and 1 more',
  );
  expect(headline(explanation(note))).toBe('It fails at noon');
  expect(headline(explanation())).toBe('It waits for nothing.');
});

it('links to what has a page', () => {
  const task = party('task', 'load [2]', { dag_id: 'etl', run_id: 'r1', task_id: 'load', map_index: 2 });
  expect(placeOf(task)).toEqual({
    to: '/dags/$dagId/runs/$runId',
    params: { dagId: 'etl', runId: 'r1' },
    search: { task: 'load', map: 2 },
  });
  expect(placeOf(party('run', 'r1', { dag_id: 'etl', run_id: 'r1' }))?.to).toBe('/dags/$dagId/runs/$runId');
  expect(placeOf(party('pool', 'warehouse'))).toEqual({ to: '/pools' });
  expect(placeOf(party('file', 'dags/etl.py'))).toEqual({ to: '/parse-errors' });
  expect(placeOf(party('executor', '10.0.0.7:50052'))).toBeNull();
});

it('says where a party is when it is elsewhere', () => {
  const { subject } = explanation();
  expect(nameOf(party('task', 'a', { dag_id: 'etl', run_id: 'r1' }), subject)).toBe('a');
  expect(nameOf(party('task', 'a', { dag_id: 'etl', run_id: 'r0' }), subject)).toBe('r0 / a');
  expect(nameOf(party('task', 'a', { dag_id: 'other', run_id: 'x' }), subject)).toBe('other / x / a');
  expect(nameOf(party('person', 'user:ana'), subject)).toBe('ana');
});
