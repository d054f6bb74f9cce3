/** Invented calendars, durations and landing times, of the same runs as the rest of the mock gateway. */
import type { components } from '../src/api-gen/schema';
import { dag, layout, runsOf } from './mockData.ts';

type S = components['schemas'];
type Run = S['RunSummary'];

const DAY = 86_400_000;
const MOST = 1000;
const date = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const dueOf = (run: Run) => run.run_after ?? run.queued_time ?? '';
const seconds = (from: string | null, to: string | null) =>
  from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;

function statistics(values: (number | null)[]): S['Statistics'] {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return {
    count: sorted.length,
    median_seconds: sorted[Math.floor(sorted.length / 2)] ?? null,
    p95_seconds: sorted[Math.ceil(sorted.length * 0.95) - 1] ?? null,
    max_seconds: sorted.at(-1) ?? null,
  };
}

export function calendar(dagId: string, query: URLSearchParams): S['Calendar'] {
  const from = query.get('from_date') ?? date(Date.now() - 365 * DAY);
  const to = query.get('to_date') ?? date(Date.now());
  const days = new Map<string, Record<string, number>>();
  const all = runsOf(dagId, MOST);
  for (const run of all) {
    const day = dueOf(run).slice(0, 10);
    if (day < from || day > to) continue;
    const counts = days.get(day) ?? {};
    counts[run.state] = (counts[run.state] ?? 0) + 1;
    days.set(day, counts);
  }
  return {
    dag_id: dagId,
    timezone: 'UTC',
    from_date: from,
    to_date: to,
    days: [...days].map(([day, counts]) => ({
      date: day,
      start_time: `${day}T00:00:00Z`,
      end_time: `${date(Date.parse(day) + DAY)}T00:00:00Z`,
      counts,
    })),
    first_run_date: all[0] ? dueOf(all[0]).slice(0, 10) : null,
    last_run_date: all[0] ? dueOf(all.at(-1) as Run).slice(0, 10) : null,
  };
}

function chosen(dagId: string, query: URLSearchParams): S['RunDuration'][] {
  const is = (name: string, value: string) => !query.get(name) || query.get(name) === value;
  return runsOf(dagId, MOST)
    .filter((run) => is('run_type', run.run_type) && is('state', run.state))
    .slice(-Number(query.get('runs') ?? 100))
    .map((run) => ({
      run_id: run.run_id,
      run_type: run.run_type,
      state: run.state,
      marked: false,
      logical_date: run.logical_date,
      due_time: dueOf(run),
      queued_time: run.queued_time,
      start_time: run.start_time,
      end_time: run.end_time,
      queued_seconds: seconds(run.queued_time, run.start_time),
      duration_seconds: run.duration_seconds,
      landing_seconds: seconds(dueOf(run), run.end_time),
    }));
}

export function durations(dagId: string, query: URLSearchParams): S['RunDurations'] {
  const runs = chosen(dagId, query);
  const good = runs.filter((run) => run.state === 'success');
  return {
    dag_id: dagId,
    runs,
    queued: statistics(good.map((run) => run.queued_seconds)),
    duration: statistics(good.map((run) => run.duration_seconds)),
    landing: statistics(good.map((run) => run.landing_seconds)),
    next_cursor: null,
  };
}

export function taskDurations(dagId: string, query: URLSearchParams): S['TaskDurations'] {
  const runs = chosen(dagId, query).filter((run) => run.duration_seconds !== null);
  const wanted = query.getAll('task_id');
  const tasks = layout(dagId).tasks;
  const found = tasks
    .map(({ task_id }, index): S['TaskDuration'] => {
      const points = runs.map((run, n) => {
        const share = ((index * 7919) % 97) / 200 + 0.05 + ((n * 31 + index * 17) % 13) / 130;
        const duration = (run.duration_seconds ?? 0) * share;
        const state: S['TaskDurationPoint']['state'] =
          run.state === 'failed' && index === tasks.length - 1 ? 'failed' : 'success';
        return {
          run_id: run.run_id,
          state,
          duration_seconds: duration,
          landing_seconds: duration + 4 + index * 20,
          instance_count: 1,
        };
      });
      const good = points.filter((point) => point.state === 'success');
      return {
        task_id,
        run_count: points.length,
        failed_count: points.length - good.length,
        duration: statistics(good.map((point) => point.duration_seconds)),
        landing: statistics(good.map((point) => point.landing_seconds)),
        points: wanted.includes(task_id) ? points : [],
      };
    })
    .sort((a, b) => (b.duration.median_seconds ?? 0) - (a.duration.median_seconds ?? 0));
  return {
    dag_id: dagId,
    run_count: runs.length,
    task_count: tasks.length,
    tasks: wanted.length > 0 ? found.filter((task) => wanted.includes(task.task_id)) : found.slice(0, 500),
  };
}

/** One run after the other, as far apart as the latest two. */
export function simulation(dagId: string, body: Record<string, unknown>): S['SimulationResult'] {
  const [before, last] = runsOf(dagId, 2).map((run) => Date.parse(dueOf(run)));
  const step = last && before ? last - before : DAY;
  const end = Date.now() + Number(body.days ?? 7) * DAY;
  const runs: S['SimulatedRun'][] = [];
  for (let due = (last ?? Date.now()) + step; due < end && runs.length < MOST; due += step) {
    const at = (ms: number) => new Date(due + ms).toISOString();
    runs.push({
      dag_id: dagId,
      run_id: `scheduled__${at(0)}`,
      logical_date: at(-step),
      due_time: at(0),
      start_time: at(1000),
      end_time: at(600_000),
      state: 'success',
      task_count: 3,
      partition_key: '',
    });
  }
  return {
    start: new Date().toISOString(),
    end: new Date(end).toISOString(),
    stopped: '',
    run_count: dag(dagId).paused ? 0 : runs.length,
    failed_run_count: 0,
    task_count: runs.length * 3,
    peak_running_tasks: 1,
    peak_time: null,
    runs,
    limits: [],
    event_count: runs.length * 9,
    seconds: 0.1,
  };
}
