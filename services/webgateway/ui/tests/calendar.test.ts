import { describe, expect, it } from 'vitest';
import {
  byDate,
  dayLabel,
  daysToPlan,
  mainState,
  monthColumns,
  moveDay,
  weekday,
  weeksOf,
} from '../src/lib/calendar';

describe('the weeks of a year', () => {
  it.each([2024, 2026, 2028])('has every day of %i once, from Monday to Sunday', (year) => {
    const weeks = weeksOf(year);
    const days = weeks.flat().filter((day) => day !== null);
    expect(days.length).toBe(year % 4 === 0 ? 366 : 365);
    expect(new Set(days).size).toBe(days.length);
    expect([days[0], days.at(-1)]).toEqual([`${year}-01-01`, `${year}-12-31`]);
    for (const week of weeks) week.forEach((day, row) => day && expect(weekday(day)).toBe(row));
    expect(monthColumns(weeks).map(({ month }) => month)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });
});

describe('keys', () => {
  it('move by a day or a week and stay in the year', () => {
    expect(moveDay('2026-11-27', 'ArrowDown')).toBe('2026-11-28');
    expect(moveDay('2026-11-27', 'ArrowLeft')).toBe('2026-11-20');
    expect(moveDay('2026-03-01', 'ArrowUp')).toBe('2026-02-28');
    expect(moveDay('2026-12-31', 'ArrowRight')).toBe('2026-12-31');
    expect(moveDay('2026-06-01', 'Home')).toBe('2026-01-01');
    expect(moveDay('2026-06-01', 'a')).toBeNull();
  });
});

describe('a day', () => {
  it('has the state that most of its runs have, of equals the worse', () => {
    expect(mainState({ success: 3, failed: 1 })).toBe('success');
    expect(mainState({ success: 1, failed: 1 })).toBe('failed');
    expect(mainState({})).toBeNull();
  });
  it('is told in words', () => {
    expect(dayLabel('2026-11-27', { success: 2, failed: 1 }, 0)).toBe(
      'Fri, 27 Nov 2026: 3 runs, 1 failed, 2 success',
    );
    expect(dayLabel('2026-11-27', { success: 1 }, 4)).toBe('Fri, 27 Nov 2026: 1 run, 1 success, 4 planned');
    expect(dayLabel('2026-11-27', undefined, 0)).toBe('Fri, 27 Nov 2026: no run');
  });
});

describe('planned runs', () => {
  it('are counted by the dates of the zone', () => {
    const moments = ['2026-11-27T22:30:00Z', '2026-11-27T23:30:00Z', '2026-11-28T01:00:00Z'];
    expect([...byDate(moments, 'Europe/Berlin')]).toEqual([
      ['2026-11-27', 1],
      ['2026-11-28', 2],
    ]);
  });
  it('are asked for as many days as a thousand of them take', () => {
    expect([0, 1, 24, 480, 1440].map(daysToPlan)).toEqual([62, 62, 41, 2, 1]);
  });
});
