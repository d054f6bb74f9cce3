/** The states of runs and tasks: their words, their order of attention, and which of them can still change. */

export const TASK_STATES = [
  'failed',
  'upstream_failed',
  'up_for_retry',
  'restarting',
  'running',
  'deferred',
  'up_for_reschedule',
  'queued',
  'scheduled',
  'skipped',
  'success',
  'removed',
  'none',
] as const;
export type TaskState = (typeof TASK_STATES)[number];

export const RUN_STATES = ['queued', 'running', 'success', 'failed'] as const;
export type RunState = (typeof RUN_STATES)[number];

export type AnyState = TaskState | RunState;

const LABELS: Record<TaskState, string> = {
  failed: 'Failed',
  upstream_failed: 'Upstream failed',
  up_for_retry: 'Up for retry',
  restarting: 'Restarting',
  running: 'Running',
  deferred: 'Deferred',
  up_for_reschedule: 'Up for reschedule',
  queued: 'Queued',
  scheduled: 'Scheduled',
  skipped: 'Skipped',
  success: 'Success',
  removed: 'Removed',
  none: 'Not started',
};

export function stateLabel(state: string): string {
  return LABELS[state as TaskState] ?? state;
}

const FINISHED = new Set<string>(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);

export function isFinished(state: AnyState): boolean {
  return FINISHED.has(state);
}

/** Rank for sorting: lower needs attention sooner. */
export function stateRank(state: AnyState): number {
  return TASK_STATES.indexOf(state);
}

/** The state shown for a folded group: the one that needs attention most; `null` when nothing exists. */
export function worstState(states: Iterable<AnyState | null | undefined>): AnyState | null {
  let worst: AnyState | null = null;
  for (const state of states) {
    if (state == null) continue;
    if (worst === null || stateRank(state) < stateRank(worst)) worst = state;
  }
  return worst;
}

/** "23 success, 2 failed" in order of attention. */
export function countsText(counts: Record<string, number>): string {
  return TASK_STATES.filter((state) => (counts[state] ?? 0) > 0)
    .map((state) => `${counts[state]} ${stateLabel(state).toLowerCase()}`)
    .join(', ');
}
