/** How a try ended, in words: one text for each `Outcome` of spinner/common/v1/common.proto, as the gateway writes it. */
export const OUTCOMES: Record<string, string> = {
  success: 'Success',
  failed: 'Failed: the code raised or left with an error',
  skipped: 'Skipped',
  failed_no_retry: 'Failed, and asked for no retry',
  timed_out: 'Took longer than its time-out',
  killed_by_user: 'Ended by a person or by the scheduler',
  out_of_memory: 'Ran out of memory',
  lost: 'Lost: the worker said nothing any more',
  launch_failed: 'Could not be launched',
  evicted: 'Evicted from its node',
  preempted: 'Gave way to more important work',
  node_lost: 'Its node was lost',
  image_pull_failed: 'Its image could not be pulled',
  config_error: 'Its configuration is wrong',
  never_scheduled: 'Found no place to run in time',
  deleted: 'Its pod was deleted by somebody else',
  crashed: 'Crashed without a word',
  parse_failed: 'Its DAG file could not be read',
  node_out_of_memory: 'Its node ran out of memory',
};

/** The text, or the code itself when a newer service sends one that is not known here. */
export function outcomeLabel(outcome: string): string {
  return OUTCOMES[outcome] ?? outcome.replaceAll('_', ' ');
}
