import { describe, expect, it } from 'vitest';
import {
  axisTicks,
  axisTop,
  boxesPath,
  labelPlaces,
  linePath,
  movePlace,
  placeAt,
  rollingMedian,
} from '../src/lib/chart';
import { chosenTasks, partsOf, runText, statisticsText, taskValues, toggleTask } from '../src/lib/timings';
import type { RunDuration, TaskDuration } from '../src/queries/timings';

const RUN: RunDuration = {
  run_id: 'r1',
  run_type: 'scheduled',
  state: 'success',
  marked: false,
  logical_date: null,
  due_time: '2026-11-27T08:00:00Z',
  queued_time: '2026-11-27T08:01:00Z',
  start_time: '2026-11-27T08:01:10Z',
  end_time: '2026-11-27T08:03:10Z',
  queued_seconds: 10,
  duration_seconds: 120,
  landing_seconds: 190,
};
const NOW = Date.parse('2026-11-27T09:00:00Z');

describe('the parts of a bar', () => {
  it('begin when the run was made, or when it was due', () => {
    expect(partsOf(RUN, 'duration', NOW)).toEqual({ wait: 10, work: 120 });
    const landing = partsOf(RUN, 'landing', NOW);
    expect(landing).toEqual({ wait: 70, work: 120 });
    expect(landing.wait + landing.work).toBe(RUN.landing_seconds);
  });
  it('grow while it is queued and while it runs', () => {
    const open = { ...RUN, end_time: null, duration_seconds: null, landing_seconds: null };
    expect(partsOf({ ...open, state: 'running' }, 'duration', NOW)).toEqual({ wait: 10, work: 3530 });
    expect(partsOf({ ...open, state: 'queued', start_time: null }, 'landing', NOW)).toEqual({
      wait: 3600,
      work: 0,
    });
  });
  it('are told in words', () => {
    expect(runText(RUN, partsOf(RUN, 'duration', NOW), 'duration')).toBe(
      'r1: Success, was queued 10 s, ran 2m 00s',
    );
    const none = { count: 0, median_seconds: null, p95_seconds: null, max_seconds: null };
    expect(statisticsText(none)).toBe('no successful run yet');
  });
});

describe('an axis', () => {
  it('ends above the longest', () => {
    expect(axisTop([10, 20, null])).toBeCloseTo(21);
    expect(axisTop([])).toBe(1);
  });
  it('is not stretched by one that took far longer', () => {
    expect(axisTop([...Array<number>(99).fill(10), 5000])).toBe(20);
    expect(axisTop([...Array<number>(50).fill(10), ...Array<number>(50).fill(5000)])).toBeCloseTo(5250);
  });
  it('has lines at round times, however short', () => {
    expect(axisTicks(0.49)).toEqual([0, 0.1, 0.2, 0.3, 0.4]);
    expect(axisTicks(1.3)).toEqual([0, 0.5, 1]);
    expect(axisTicks(1200)).toEqual([0, 300, 600, 900, 1200]);
    expect(axisTicks(0.004)).toEqual([0, 0.002, 0.004]);
  });
  it('labels the last place and others with room between', () => {
    expect(labelPlaces(1000, 1200)).toEqual([99, 199, 299, 399, 499, 599, 699, 799, 899, 999]);
    expect(labelPlaces(3, 1200)).toEqual([0, 1, 2]);
    expect(labelPlaces(0, 1200)).toEqual([]);
  });
  it('finds the place under the pointer and beside the focus', () => {
    expect([placeAt(0, 100, 4), placeAt(99, 100, 4), placeAt(-1, 100, 4), placeAt(100, 100, 4)]).toEqual([
      0,
      3,
      null,
      null,
    ]);
    expect([movePlace(0, 9, 'ArrowLeft'), movePlace(3, 9, 'ArrowRight'), movePlace(3, 9, 'End')]).toEqual([
      0, 4, 8,
    ]);
    expect(movePlace(3, 9, 'x')).toBeNull();
  });
});

describe('many runs', () => {
  it('are drawn as medians of those around', () => {
    expect(rollingMedian([1, 9, 2, null, 4], 3)).toEqual([5, 2, 5.5, null, 4]);
    expect(rollingMedian([], 3)).toEqual([]);
  });
});

describe('paths', () => {
  it('draw all boxes in one', () => {
    const box = { x: 1, y: 2, width: 3, height: 4.005 };
    expect(boxesPath([box, box])).toBe('M1 2h3v4.01h-3zM1 2h3v4.01h-3z');
  });
  it('break where a point is missing', () => {
    expect(linePath([{ x: 0, y: 1 }, { x: 1, y: 1 }, null, { x: 3, y: 1 }])).toBe('M0 1L1 1M3 1');
  });
});

describe('tasks', () => {
  const task = {
    task_id: 't',
    points: [{ run_id: 'r2', state: 'failed', duration_seconds: 5, landing_seconds: 9, instance_count: 1 }],
  } as unknown as TaskDuration;
  it('have a value for each run, or none', () => {
    const runs = [RUN, { ...RUN, run_id: 'r2' }];
    expect(taskValues(runs, task, 'landing')).toEqual([null, { seconds: 9, failed: true }]);
    expect(taskValues(runs, undefined, 'duration')).toEqual([null, null]);
  });
  it('are the slowest until some are chosen', () => {
    const slowest = 'abcdefg'.split('').map((task_id) => ({ task_id }));
    expect(chosenTasks(undefined, slowest)).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(chosenTasks('-', slowest)).toEqual([]);
    expect(toggleTask(['a', 'b'], 'b')).toBe('a');
    expect(toggleTask(['a'], 'a')).toBe('-');
    expect(chosenTasks(toggleTask([], 'z'), slowest)).toEqual(['z']);
  });
});
