/** Backfills: how far one is, and whether what is asked for can be sent. Pure. */
import type { Schemas } from '../queries/client';

export type Backfill = Schemas['Backfill'];

/** Parts of the progress bar in the order they are drawn; they add up to all intervals. */
export const PARTS = ['success', 'failed', 'running', 'queued', 'skipped', 'waiting'] as const;
export type Part = (typeof PARTS)[number];

export function partsOf(
  backfill: Pick<Backfill, 'run_counts' | 'skip_count' | 'interval_count'>,
): Record<Part, number> {
  const counts = backfill.run_counts;
  const made = {
    success: counts.success ?? 0,
    failed: counts.failed ?? 0,
    running: counts.running ?? 0,
    queued: counts.queued ?? 0,
    skipped: backfill.skip_count,
  };
  const sum = Object.values(made).reduce((total, count) => total + count, 0);
  return { ...made, waiting: Math.max(0, backfill.interval_count - sum) };
}

/** How many intervals need nothing more. */
export function endedCount(backfill: Pick<Backfill, 'run_counts' | 'skip_count' | 'interval_count'>): number {
  const parts = partsOf(backfill);
  return parts.success + parts.failed + parts.skipped;
}

/** What can be done with a backfill in this state. */
export function actionsOf(state: Backfill['state']): ('pause' | 'resume' | 'cancel')[] {
  if (state === 'created' || state === 'running') return ['pause', 'cancel'];
  return state === 'paused' ? ['resume', 'cancel'] : [];
}

/** Task ids of a pasted list: separated by commas or white space, each once. */
export function taskList(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}

/** Days from the first to the last date, both counted; NaN when one is missing. */
export function daysBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 86_400_000 + 1;
}

/** Why the dates can't be sent, '' when they can. */
export function datesProblem(from: string, to: string): string {
  const days = daysBetween(from, to);
  if (Number.isNaN(days)) return 'Choose the first and the last date.';
  return days < 1 ? 'The last date is before the first.' : '';
}
