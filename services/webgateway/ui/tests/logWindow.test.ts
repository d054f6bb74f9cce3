import { describe, expect, it } from 'vitest';
import { atLeast, CHUNK_LINES, LogWindow, stripAnsi, type LogLine } from '../src/lib/logWindow';

function lines(first: number, count: number, more: Partial<LogLine> = {}): LogLine[] {
  return Array.from({ length: count }, (_, index) => ({
    line: first + index,
    level: 'INFO',
    stage: 'TaskExecStage',
    logger: 'etl',
    text: `line ${first + index}`,
    critical: false,
    ...more,
  }));
}

function page(first: number, count: number, total: number | null, more: Partial<LogLine> = {}) {
  return {
    first_line: first,
    lines: lines(first, count, more),
    total_lines: total,
    next_offset: (first + count) * 10,
    complete: total !== null,
  };
}

describe('a window into a log', () => {
  it('asks for each missing chunk once', () => {
    const held = new LogWindow();
    held.put(page(1, CHUNK_LINES, 5000));
    expect(held.take(400, 1200)).toEqual([501, 1001]);
    expect(held.take(400, 1200)).toEqual([]);
    held.put(page(501, CHUNK_LINES, 5000));
    held.release(501);
    held.release(1001);
    expect(held.take(400, 1200)).toEqual([1001]);
  });

  it('numbers lines anew when the final text lacks what the live one had', () => {
    const held = new LogWindow();
    held.put({ ...page(1, 900, null), left_out_line: 301 });
    expect([held.total, held.leftOutLine]).toEqual([900, 301]);
    held.put({ ...page(880, 21, 700), lines: [], left_out_line: 201 });
    expect([held.total, held.leftOutLine, held.loaded]).toEqual([700, 201, 0]);
    expect(held.take(1, 700)).toEqual([1, 501]);
    held.put(page(501, 200, 700));
    expect(held.get(700)?.text).toBe('line 700');
  });

  it('completes a chunk that began with the tail', () => {
    const held = new LogWindow();
    held.put(page(801, 100, 900));
    expect(held.get(900)?.text).toBe('line 900');
    expect(held.get(700)).toBeUndefined();
    expect(held.take(700, 900)).toEqual([501]);
    held.put(page(501, CHUNK_LINES, 900));
    held.release(501);
    expect(held.take(501, 900)).toEqual([]);
  });

  it('grows with the live stream, and the same lines twice change nothing', () => {
    const held = new LogWindow();
    held.put(page(1, 3, null));
    held.put(page(3, 2, null));
    held.put(page(3, 2, null));
    expect([held.total, held.loaded, held.complete]).toEqual([4, 4, false]);
    held.put({ ...page(5, 0, 4), next_offset: 40 });
    expect([held.total, held.complete, held.nextOffset]).toEqual([4, true, 50]);
  });

  it('keeps critical lines known and drops what is far away', () => {
    const held = new LogWindow();
    held.put(page(7, 1, 500_000, { critical: true }));
    for (let first = 1; first < 400 * CHUNK_LINES; first += CHUNK_LINES)
      held.put(page(first, CHUNK_LINES, 500_000));
    held.trim(399 * CHUNK_LINES);
    expect(held.get(7)).toBeUndefined();
    expect(held.get(399 * CHUNK_LINES)).toBeDefined();
    expect(held.loaded).toBeLessThan(200_000);
    expect([...held.critical]).toEqual([7]);
    expect(held.firstGap()).toBe(1);
  });

  it('tells its listeners', () => {
    const held = new LogWindow();
    let told = 0;
    const stop = held.subscribe(() => (told += 1));
    held.put(page(1, 2, 2));
    stop();
    held.put(page(1, 2, 2));
    expect(told).toBe(1);
  });
});

describe('levels', () => {
  it('keeps critical lines at every level and treats prints as INFO', () => {
    const [raw] = lines(1, 1, { level: '' });
    const [critical] = lines(1, 1, { level: '', critical: true });
    if (!raw || !critical) throw new Error('no lines');
    expect(atLeast(raw, 'INFO')).toBe(true);
    expect(atLeast(raw, 'WARNING')).toBe(false);
    expect(atLeast(critical, 'ERROR')).toBe(true);
    expect(atLeast({ ...raw, level: 'FATAL' }, 'ERROR')).toBe(true);
    expect(atLeast({ ...raw, level: 'DEBUG' }, '')).toBe(true);
  });
});

it('removes terminal colours', () => {
  expect(stripAnsi('\u001b[1;32mdone\u001b[0m in 3 s')).toBe('done in 3 s');
});
