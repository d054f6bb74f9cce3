import { describe, expect, it } from 'vitest';
import { barAt, barHeights } from '../src/lib/strip';

describe('bar heights', () => {
  it('fills the height with the longest run and keeps short ones visible', () => {
    expect(barHeights([3600, 900, 1, null], 20, 3)).toEqual([20, 10, 3, 3]);
  });
  it('has a line for runs that took no time', () => {
    expect(barHeights([0, 0], 20, 3)).toEqual([3, 3]);
    expect(barHeights([], 20, 3)).toEqual([]);
  });
});

describe('the bar under the pointer', () => {
  it('counts from the right when there are fewer runs than places', () => {
    expect(barAt(149, 2, 6)).toBe(1);
    expect(barAt(143, 2, 6)).toBe(0);
    expect(barAt(137, 2, 6)).toBeNull();
    expect(barAt(150, 2, 6)).toBeNull();
  });
});
