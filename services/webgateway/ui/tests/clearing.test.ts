import { expect, test } from 'vitest';
import { clearNote, clearWords } from '../src/lib/clearing';

const counts = { task_count: 1, killed_count: 0, removed_count: 0, added_count: 0, run_count: 1 };

test('a clear is told in words, with its consequences', () => {
  expect(clearWords(counts)).toBe('Clears 1 task in 1 run');
  expect(
    clearWords({ task_count: 1200, killed_count: 1, removed_count: 2, added_count: 1, run_count: 3 }),
  ).toBe('Clears 1,200 tasks in 3 runs · kills 1 try · 2 vanish · 1 is new');
});

test('a task says why it is touched', () => {
  expect(clearNote({ effect: 'rerun', reason: 'chosen' })).toBe('');
  expect(clearNote({ effect: 'rerun', reason: 'setup_teardown' })).toBe(
    'setup or teardown of a cleared task',
  );
  expect(clearNote({ effect: 'kill', reason: 'version' })).toBe(
    'killed first, its run takes the latest version',
  );
  expect(clearNote({ effect: 'removed', reason: 'version' })).toBe('not in the latest version');
});
