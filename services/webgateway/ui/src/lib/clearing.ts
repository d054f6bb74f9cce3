/** What a clear does, in words. */
import type { Schemas } from '../queries/client';

const EFFECTS: Record<string, string> = {
  kill: 'killed first',
  removed: 'not in the latest version',
  added: 'new in the latest version',
};
const REASONS: Record<string, string> = {
  upstream: 'upstream',
  downstream: 'downstream',
  setup_teardown: 'setup or teardown of a cleared task',
  version: 'its run takes the latest version',
};

/** Why a task is among those that a clear touches, and what becomes of it. Empty for one that was chosen. */
export function clearNote(task: Pick<Schemas['ClearedTask'], 'effect' | 'reason'>): string {
  const reason = task.effect === 'removed' || task.effect === 'added' ? undefined : REASONS[task.reason];
  return [EFFECTS[task.effect], reason].filter(Boolean).join(', ');
}

function some(count: number, one: string, many: string): string {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** "Clears 3 tasks in 1 run · kills 1 try · 2 vanish · 1 is new". */
export function clearWords(plan: Omit<Schemas['ClearResult'], 'tasks' | 'version'>): string {
  const said = [`Clears ${some(plan.task_count, 'task', 'tasks')} in ${some(plan.run_count, 'run', 'runs')}`];
  if (plan.killed_count) said.push(`kills ${some(plan.killed_count, 'try', 'tries')}`);
  if (plan.removed_count) said.push(some(plan.removed_count, 'vanishes', 'vanish'));
  if (plan.added_count) said.push(some(plan.added_count, 'is new', 'are new'));
  return said.join(' · ');
}
