import { describe, expect, it } from 'vitest';
import { actionsOf, datesProblem, endedCount, partsOf, taskList } from '../src/lib/backfill';

const half = { run_counts: { success: 3, failed: 1, running: 2 }, skip_count: 4, interval_count: 31 };

describe('backfills', () => {
  it('has a bar that adds up to all intervals', () => {
    const parts = partsOf(half);
    expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBe(31);
    expect(parts.waiting).toBe(21);
    expect(endedCount(half)).toBe(8);
  });

  it('never shows less than nothing when runs were cleared again', () => {
    expect(partsOf({ run_counts: { running: 3 }, skip_count: 0, interval_count: 2 }).waiting).toBe(0);
  });

  it('offers what the state allows', () => {
    expect(actionsOf('running')).toEqual(['pause', 'cancel']);
    expect(actionsOf('paused')).toEqual(['resume', 'cancel']);
    expect(actionsOf('done')).toEqual([]);
  });

  it('takes pasted task lists', () => {
    expect(taskList(' a, b\n c,,a ')).toEqual(['a', 'b', 'c']);
    expect(taskList('')).toEqual([]);
  });

  it('says what is wrong with the dates', () => {
    expect(datesProblem('2026-11-01', '2026-11-01')).toBe('');
    expect(datesProblem('2026-11-02', '2026-11-01')).toContain('before');
    expect(datesProblem('', '2026-11-01')).toContain('Choose');
  });
});
