import { describe, expect, it } from 'vitest';
import {
  elapsedSeconds,
  formatBytes,
  formatDuration,
  formatRelative,
  formatUtc,
  withLocalTimes,
} from '../src/lib/time';

describe('durations', () => {
  it.each([
    [0, '0 s'],
    [0.0002, '1 ms'],
    [0.0414, '41 ms'],
    [0.42, '0.42 s'],
    [3.14159, '3.1 s'],
    [9.97, '10 s'],
    [59.4, '59 s'],
    [59.6, '1m 00s'],
    [185, '3m 05s'],
    [7620, '2h 07m'],
    [97_200, '1d 03h'],
    [null, '—'],
    [-1, '—'],
  ])('%s seconds is %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  it('counts to the end, or to now while it runs', () => {
    expect(elapsedSeconds('2026-01-01T00:00:00Z', '2026-01-01T00:01:30Z', 0)).toBe(90);
    expect(elapsedSeconds('2026-01-01T00:00:00Z', null, Date.UTC(2026, 0, 1, 0, 0, 5))).toBe(5);
    expect(elapsedSeconds(null, null, 0)).toBeNull();
  });
});

describe('relative times', () => {
  const now = Date.UTC(2026, 10, 27, 8, 0, 0);
  it.each([
    ['2026-11-27T08:00:01Z', 'now'],
    ['2026-11-27T07:59:48Z', '12 s ago'],
    ['2026-11-27T08:05:30Z', 'in 5 min'],
    ['2026-11-27T05:00:00Z', '3 h ago'],
    ['2026-11-29T09:00:00Z', 'in 2 d'],
    ['2025-11-27T12:00:00Z', '2025-11-27'],
    ['nonsense', '—'],
    [null, '—'],
  ])('%s is %s', (value, text) => {
    expect(formatRelative(value, now)).toBe(text);
  });

  it('says UTC with its zone', () => {
    expect(formatUtc('2026-11-27T08:00:01+02:00')).toBe('2026-11-27 06:00:01 UTC');
    expect(formatUtc(null)).toBe('');
  });
});

it('writes sizes in binary units', () => {
  expect([0, 1023, 1024, 213_909_504, null].map(formatBytes)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '204 MiB',
    '—',
  ]);
});

it('writes the times of a text in the zone of the browser, but not those of ids', () => {
  process.env.TZ = 'Asia/Kolkata';
  expect(
    withLocalTimes('Its next run, of 2026-11-28T01:39:00+00:00, is due at 2026-11-28T01:42:00.5Z.'),
  ).toBe('Its next run, of 2026-11-28 07:09:00, is due at 2026-11-28 07:12:00.');
  const ids = 'run scheduled__2026-11-28T01:39:00+00:00 of etl/2026-11-28T01:39:00+00:00/load';
  expect(withLocalTimes(ids)).toBe(ids);
  expect(withLocalTimes('2026-11-28T01:39:00+02:00')).toBe('2026-11-28T01:39:00+02:00');
});
