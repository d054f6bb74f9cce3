import { expect, it } from 'vitest';
import { actorName, sentence } from '../src/lib/words';

it('begins sentences with a capital and leaves nothing as it is', () => {
  expect([sentence('it has no schedule'), sentence('')]).toEqual(['It has no schedule', '']);
});

it('names people, and keeps the kind of programs', () => {
  expect([actorName('user:ana'), actorName('scheduler')]).toEqual(['ana', 'scheduler']);
});
