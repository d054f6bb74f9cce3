import { expect, it } from 'vitest';
import { parseSearch } from '../src/lib/search';

it('keeps what is known and well formed of an address', () => {
  expect(parseSearch({ q: 'etl', tier: 2, paused: true, map: -1, line: '40', task: 7 })).toEqual({
    q: 'etl',
    tier: 2,
    paused: true,
    map: -1,
    line: 40,
    task: '7',
  });
  expect(parseSearch({ q: '', tier: 'one', paused: 'yes', other: 1, state: { a: 1 } })).toEqual({});
});
