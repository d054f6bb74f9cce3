/** How long runs and tasks took (durations), or how long after they were due they ended (landing times). */
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { Timer } from 'lucide-react';
import { useMemo } from 'react';
import { RunBars } from '../../components/charts/RunBars';
import { TaskLines } from '../../components/charts/TaskLines';
import { StateIcon } from '../../components/StateIcon';
import { Empty, Loading, Problem } from '../../components/ui';
import { useNow } from '../../lib/clock';
import { usePatchSearch, useSearch } from '../../lib/search';
import { RUN_STATES, stateLabel } from '../../lib/states';
import { formatDuration, formatLocal } from '../../lib/time';
import {
  axisDate,
  chosenTasks,
  partsOf,
  runText,
  statisticsText,
  taskValues,
  type Metric,
} from '../../lib/timings';
import { durationsQuery, taskDurationsQuery, type RunChoice, type RunDuration } from '../../queries/timings';
import { TaskPicker } from './TaskPicker';
import './timings.css';

const COUNTS = [25, 100, 250, 1000];
const ANY = 'any';
const NO_BACKFILLS = 'scheduled,manual,asset,triggered';
const TYPES: [string, string][] = [
  [ANY, 'Any type'],
  [NO_BACKFILLS, 'No backfills'],
  ...['scheduled', 'manual', 'backfill', 'asset', 'triggered'].map((type): [string, string] => [type, type]),
];
/** A chart that is looked at follows the DAG, but not each of its changes. */
const FOLLOW_MS = 10_000;

export function DurationsView() {
  return <TimingsView metric="duration" />;
}

export function LandingView() {
  return <TimingsView metric="landing" />;
}

function TimingsView({ metric }: { metric: Metric }) {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  // A backfill's runs were due long ago: they land late by nature.
  const type = search.type ?? (metric === 'landing' ? NO_BACKFILLS : ANY);
  const choice: RunChoice = {
    runs: Math.min(search.runs ?? 100, 1000),
    run_type: type === ANY ? undefined : type,
    state: search.state,
  };
  const runs = useQuery({ ...durationsQuery(dagId, choice), refetchInterval: FOLLOW_MS });
  if (runs.isPending) return <Loading rows={12} label="Loading durations" />;
  if (runs.isError && !runs.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={runs.error} retry={() => void runs.refetch()} />
      </div>
    );
  return (
    <div className="col grow">
      <Toolbar choice={choice} />
      {runs.data.runs.length === 0 ? (
        <Empty title="No run to show" icon={<Timer size={28} strokeWidth={1.5} />}>
          <p>
            {choice.run_type || choice.state
              ? 'No run is of this type and state. Choose others above.'
              : 'Bars appear here when the DAG has run.'}
          </p>
        </Empty>
      ) : (
        <div className="timings" aria-busy={runs.isPlaceholderData}>
          <RunsChart dagId={dagId} metric={metric} runs={runs.data.runs} found={runs.data[metric]} />
          <TasksChart dagId={dagId} metric={metric} runs={runs.data.runs} choice={choice} />
        </div>
      )}
    </div>
  );
}

function Toolbar({ choice }: { choice: RunChoice }) {
  const patch = usePatchSearch();
  return (
    <div className="toolbar">
      <select
        className="field"
        aria-label="Number of runs"
        value={choice.runs}
        onChange={(event) => patch({ runs: Number(event.target.value) })}
      >
        {[...new Set([...COUNTS, choice.runs])].map((value) => (
          <option key={value} value={value}>
            {value.toLocaleString()} runs
          </option>
        ))}
      </select>
      <select
        className={choice.run_type ? 'field on' : 'field'}
        aria-label="Type"
        value={choice.run_type ?? ANY}
        onChange={(event) => patch({ type: event.target.value })}
      >
        {TYPES.map(([type, label]) => (
          <option key={type} value={type}>
            {label}
          </option>
        ))}
      </select>
      <select
        className={choice.state ? 'field on' : 'field'}
        aria-label="State"
        value={choice.state ?? ''}
        onChange={(event) => patch({ state: event.target.value || undefined })}
      >
        <option value="">Any state</option>
        {RUN_STATES.map((state) => (
          <option key={state} value={state}>
            {stateLabel(state)}
          </option>
        ))}
      </select>
      <div className="legend grow" aria-hidden="true">
        {(['success', 'failed', 'running'] as const).map((state) => (
          <span key={state} className="state-label">
            <StateIcon state={state} size={12} /> {stateLabel(state)}
          </span>
        ))}
        <span className="state-label">
          <i className="legend-wait" /> before its start
        </span>
      </div>
    </div>
  );
}

interface ChartProps {
  dagId: string;
  metric: Metric;
  runs: RunDuration[];
}

function useOpenRun({ dagId, runs }: Pick<ChartProps, 'dagId' | 'runs'>, task?: string) {
  const navigate = useNavigate();
  return (index: number) => {
    const run = runs[index];
    if (!run) return;
    const search = task ? { task } : {};
    void navigate({ to: '/dags/$dagId/runs/$runId', params: { dagId, runId: run.run_id }, search });
  };
}

const TITLES = {
  duration: { runs: 'Duration of runs', tasks: 'Duration of tasks' },
  landing: {
    runs: 'Runs: from when they were due to their end',
    tasks: 'Tasks: from when the run was due to their end',
  },
};

function RunsChart({
  dagId,
  metric,
  runs,
  found,
}: ChartProps & { found: Parameters<typeof statisticsText>[0] }) {
  const open = runs.some((run) => !run.end_time);
  const now = useNow(open ? 5 : 3600);
  const onOpen = useOpenRun({ dagId, runs });
  const bars = useMemo(
    () =>
      runs.map((run) => {
        const parts = partsOf(run, metric, now);
        return {
          key: run.run_id,
          state: run.state,
          ...parts,
          date: axisDate(run),
          text: runText(run, parts, metric),
        };
      }),
    [runs, metric, now],
  );
  return (
    <section aria-label={TITLES[metric].runs}>
      <div className="row wrap">
        <h2>{TITLES[metric].runs}</h2>
        <span className="right muted">{statisticsText(found)}</span>
      </div>
      <RunBars
        label={TITLES[metric].runs}
        bars={bars}
        median={found.median_seconds}
        tip={(index) => <RunTip run={runs[index]} metric={metric} now={now} />}
        onOpen={onOpen}
      />
    </section>
  );
}

function RunTip({ run, metric, now }: { run: RunDuration | undefined; metric: Metric; now: number }) {
  if (!run) return null;
  const parts = partsOf(run, metric, now);
  return (
    <>
      <div className="row" style={{ fontWeight: 600, marginBottom: 4 }}>
        <StateIcon state={run.state} /> {stateLabel(run.state)}
        <span className="right muted" style={{ fontWeight: 400 }}>
          {run.run_type}
        </span>
      </div>
      <dl>
        <dt>Run</dt>
        <dd className="mono">{run.run_id}</dd>
        <dt>Due</dt>
        <dd>{formatLocal(run.due_time)}</dd>
        <dt>{metric === 'duration' ? 'Queued' : 'Started'}</dt>
        <dd>
          {formatDuration(parts.wait)}
          {metric === 'landing' && ' later'}
        </dd>
        <dt>Ran</dt>
        <dd>{run.start_time ? formatDuration(parts.work) : '—'}</dd>
        <dt>Landed</dt>
        <dd>{run.landing_seconds === null ? 'not yet' : formatDuration(Math.max(0, run.landing_seconds))}</dd>
      </dl>
    </>
  );
}

function TasksChart({ dagId, metric, runs, choice }: ChartProps & { choice: RunChoice }) {
  const search = useSearch();
  const all = useQuery({ ...taskDurationsQuery(dagId, choice), staleTime: 60_000 });
  const chosen = chosenTasks(search.tasks, all.data?.tasks ?? []);
  const lined = useQuery({
    ...taskDurationsQuery(dagId, choice, chosen),
    enabled: chosen.length > 0,
    refetchInterval: FOLLOW_MS,
  });
  const onOpen = useOpenRun({ dagId, runs }, chosen.length === 1 ? chosen[0] : undefined);
  const lines = useMemo(
    () =>
      chosen.map((name, index) => {
        const task = lined.data?.tasks.find((one) => one.task_id === name);
        return {
          name,
          style: index,
          values: taskValues(runs, task, metric),
          median: task?.[metric].median_seconds ?? null,
        };
      }),
    // The names, not the array of them, which is another one each time.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [chosen.join(','), lined.data, runs, metric],
  );
  if (all.isPending) return <Loading rows={6} label="Loading tasks" />;
  if (all.isError && !all.data) return <Problem error={all.error} retry={() => void all.refetch()} />;
  return (
    <section aria-label={TITLES[metric].tasks}>
      <div className="row wrap">
        <h2>{TITLES[metric].tasks}</h2>
        <span className="right muted">
          {all.data.run_count < runs.length &&
            `the table is of the latest ${all.data.run_count.toLocaleString()} runs`}
        </span>
      </div>
      {lined.isError && <Problem error={lined.error} retry={() => void lined.refetch()} />}
      {lines.length > 0 && (
        <TaskLines
          label={TITLES[metric].tasks}
          lines={lines}
          count={runs.length}
          dateOf={(index) => axisDate(runs[index])}
          nameOf={(index) => runs[index]?.run_id ?? ''}
          onOpen={onOpen}
        />
      )}
      <TaskPicker metric={metric} tasks={all.data.tasks} total={all.data.task_count} chosen={chosen} />
    </section>
  );
}
