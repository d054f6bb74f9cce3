import type { TaskInstance } from '../queries/client';

/** Counts by state for each task of a run. */
export function statesByTask(tasks: TaskInstance[] | undefined): Map<string, Record<string, number>> {
  const all = new Map<string, Record<string, number>>();
  for (const task of tasks ?? []) {
    const counts = all.get(task.task_id) ?? {};
    counts[task.state] = (counts[task.state] ?? 0) + 1;
    all.set(task.task_id, counts);
  }
  return all;
}
