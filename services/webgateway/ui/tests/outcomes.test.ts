import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { OUTCOMES, outcomeLabel } from '../src/lib/outcomes';

const CONTRACT = new URL('../../../../proto/spinner/common/v1/common.proto', import.meta.url);

it('has words for every outcome of the contract, and for no other', () => {
  const block = /enum Outcome \{([^}]*)\}/.exec(readFileSync(CONTRACT, 'utf8'))?.[1] ?? '';
  const codes = [...block.matchAll(/OUTCOME_(\w+) = (\d+);/g)]
    .filter(([, , number]) => number !== '0')
    .map(([, name = '']) => name.toLowerCase());
  expect(codes.length).toBeGreaterThan(10);
  expect(Object.keys(OUTCOMES).sort()).toEqual(codes.sort());
  const texts = Object.values(OUTCOMES);
  expect(new Set(texts).size).toBe(texts.length);
  expect(texts.filter((text) => /_|^[a-z]/.test(text))).toEqual([]);
});

it('shows a code that only a newer service knows', () => {
  expect(outcomeLabel('eaten_by_the_dog')).toBe('eaten by the dog');
});
