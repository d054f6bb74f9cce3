/** From a DAG's runs to the bars of its charts. Pure; `now` in milliseconds is for what is under way. */
import type { RunDuration, Statistics, TaskDuration } from '../queries/timings';
import { stateLabel } from './states';
import { elapsedSeconds, formatDuration, formatLocal, parseTime } from './time';

export type Metric = 'duration' | 'landing';

export interface Parts {
  /** Seconds: until it started, and from then on. */
  wait: number;
  work: number;
}

/** Durations begin when the run was made, landing times when it was due. */
export function partsOf(run: RunDuration, metric: Metric, now: number): Parts {
  const work =
    run.duration_seconds ?? (run.start_time ? elapsedSeconds(run.start_time, null, now) : null) ?? 0;
  const from = metric === 'duration' ? run.queued_time : run.due_time;
  const wait = elapsedSeconds(from, run.start_time ?? run.end_time, now) ?? 0;
  return { wait, work };
}

/** "scheduled__2026-11-27: Success, waited 3 s, ran 2m 10s". */
export function runText(run: RunDuration, parts: Parts, metric: Metric): string {
  const waited = metric === 'duration' ? 'was queued' : 'started after';
  const ran = run.start_time ? `, ${run.end_time ? 'ran' : 'runs for'} ${formatDuration(parts.work)}` : '';
  return `${run.run_id}: ${stateLabel(run.state)}, ${waited} ${formatDuration(parts.wait)}${ran}`;
}

/** "median 3m 12s, 95 % within 5m 00s, longest 8m 02s, of 92 successful runs". */
export function statisticsText(found: Statistics): string {
  if (found.count === 0) return 'no successful run yet';
  const number = (seconds: number | null) => formatDuration(Math.max(0, seconds ?? 0));
  const runs = found.count === 1 ? 'run' : 'runs';
  return `median ${number(found.median_seconds)}, 95 % within ${number(found.p95_seconds)}, longest ${number(found.max_seconds)}, of ${found.count.toLocaleString()} successful ${runs}`;
}

/** "11-27 08:30": when the run was due, below the axis. */
export function axisDate(run: RunDuration | undefined): string {
  return parseTime(run?.due_time) ? formatLocal(run?.due_time).slice(5, 16) : '';
}

/** The values of a task by run, in the order of `runs`. */
export function taskValues(
  runs: readonly RunDuration[],
  task: TaskDuration | undefined,
  metric: Metric,
): ({ seconds: number; failed: boolean } | null)[] {
  const points = new Map((task?.points ?? []).map((point) => [point.run_id, point]));
  return runs.map((run) => {
    const point = points.get(run.run_id);
    if (!point) return null;
    const seconds = metric === 'duration' ? point.duration_seconds : point.landing_seconds;
    return { seconds, failed: point.state === 'failed' };
  });
}

export const MOST_LINES = 8;
const DEFAULT_LINES = 5;

/** Which tasks have a line: those in the address, else the slowest. */
export function chosenTasks(address: string | undefined, slowest: readonly { task_id: string }[]): string[] {
  if (address !== undefined) return address === '-' ? [] : address.split(',').slice(0, MOST_LINES);
  return slowest.slice(0, DEFAULT_LINES).map((task) => task.task_id);
}

/** The address's text after a task was chosen or no longer; "-" for none. */
export function toggleTask(chosen: readonly string[], taskId: string): string {
  const next = chosen.includes(taskId) ? chosen.filter((one) => one !== taskId) : [...chosen, taskId];
  return next.slice(0, MOST_LINES).join(',') || '-';
}
