/** Deterministic sample data for the mock gateway: 1,000 DAGs, one run of 5,000 tasks, one failed task with a log. */
import type { components } from '../src/api-gen/schema';

type S = components['schemas'];
type TaskStateName = S['TaskInstance']['state'];

export const BIG_DAG = 'warehouse_backfill_wide';
export const DAG_COUNT = 1000;

function hash(text: string): number {
  let value = 2166136261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return ((value ^ (value >>> 16)) >>> 0) / 4294967296;
}

const pick = <T>(list: readonly T[], key: string): T => list[Math.floor(hash(key) * list.length)] as T;
const iso = (ms: number) => new Date(ms).toISOString();

const AREAS = [
  'ads',
  'billing',
  'catalog',
  'events',
  'features',
  'fraud',
  'growth',
  'search',
  'sessions',
  'trust',
];
const WHAT = [
  'rollup',
  'export',
  'ingest',
  'quality',
  'snapshot',
  'training',
  'report',
  'compaction',
  'sync',
  'audit',
];
const GRAIN = ['hourly', 'daily', 'weekly', 'on_arrival'];
const OWNERS = [
  'data-platform',
  'ads-measurement',
  'search-infra',
  'growth-analytics',
  'trust-safety',
  'finance-data',
];
const TAGS = ['etl', 'gdpr', 'ml', 'core', 'experimental', 'slo', 'pii'];

const HOUR = 3_600_000;
const now = Date.now();
const paused = new Map<string, boolean>();
const extraRuns = new Map<string, S['RunSummary'][]>();
export const retried = new Set<string>();

export const dagIds: string[] = [
  'example_etl_weather',
  'example_failing',
  BIG_DAG,
  ...Array.from({ length: DAG_COUNT - 3 }, (_, i) => {
    const key = `dag${i}`;
    return `${pick(AREAS, key + 'a')}_${pick(WHAT, key + 'w')}_${pick(GRAIN, key + 'g')}_${String(i).padStart(3, '0')}`;
  }),
].sort();

export function setPaused(dagId: string, value: boolean): void {
  paused.set(dagId, value);
}

const SCHEDULES = [
  ['30 2 * * *', 'Every day at 02:30 (UTC)', 24],
  ['@hourly', 'Every hour', 1],
  ['0 6 * * 1', 'Every Monday at 06:00 (UTC)', 168],
  ['*/15 * * * *', 'Every 15 minutes', 0.25],
] as const;

export function runsOf(dagId: string, count: number): S['RunSummary'][] {
  const [, , hours] = pick(SCHEDULES, dagId + 'sched');
  const start = Math.floor(now / HOUR) * HOUR;
  const available = hash(dagId + 'young') < 0.06 ? Math.floor(hash(dagId + 'n') * 8) : 1000;
  const runs: S['RunSummary'][] = [];
  for (let i = Math.min(count, available) - 1; i >= 0; i -= 1) {
    const key = `${dagId}#${i}`;
    const due = start - i * hours * HOUR;
    const seconds = dagId === BIG_DAG ? 5400 : (40 + 900 * hash(dagId)) * (0.5 + hash(key));
    const roll = hash(key + 's');
    let state: S['RunSummary']['state'] = roll < 0.07 ? 'failed' : 'success';
    if (i === 0 && hash(dagId + 'r') < 0.12) state = hash(dagId + 'q') < 0.3 ? 'queued' : 'running';
    if (dagId === 'example_failing') state = i === 0 || i % 3 === 0 ? 'failed' : 'success';
    if (dagId === BIG_DAG && i === 0) state = 'running';
    if (dagId === 'example_etl_weather') state = 'success';
    const open = state === 'running' || state === 'queued';
    const startMs = open ? now - 1000 * Math.min(seconds, 600) : due + 4_000;
    runs.push({
      dag_id: dagId,
      run_id: `scheduled__${iso(due).slice(0, 19)}+00:00`,
      run_type: 'scheduled',
      state,
      marked: false,
      logical_date: iso(due - hours * HOUR),
      data_interval_start: iso(due - hours * HOUR),
      data_interval_end: iso(due),
      run_after: iso(due),
      queued_time: iso(due),
      start_time: state === 'queued' ? null : iso(startMs),
      end_time: open ? null : iso(startMs + seconds * 1000),
      duration_seconds: open ? null : seconds,
      version: hash(key + 'v') < 0.02 ? 'b7d2f0e1c9aa' : '5c1e8f2ab034',
      actor: '',
      note: '',
      partition_key: '',
      reason: state === 'failed' ? 'Task load failed and has no retries left' : '',
      task_counts: {},
    });
  }
  return [...runs, ...(extraRuns.get(dagId) ?? [])].slice(-count);
}

export function addRun(dagId: string, runId: string): void {
  const at = iso(Date.now());
  const list = extraRuns.get(dagId) ?? [];
  list.push({
    ...(runsOf('example_failing', 1)[0] as S['RunSummary']),
    dag_id: dagId,
    run_id: runId,
    run_type: 'manual',
    logical_date: null,
    data_interval_start: null,
    data_interval_end: null,
    run_after: at,
    queued_time: at,
    start_time: at,
    end_time: null,
    duration_seconds: null,
    state: 'running',
    actor: 'dev',
    reason: '',
  });
  extraRuns.set(dagId, list);
}

export function dag(dagId: string): S['DagSummary'] {
  const [schedule, text, hours] = pick(SCHEDULES, dagId + 'sched');
  const isPaused = paused.get(dagId) ?? hash(dagId + 'p') < 0.12;
  const manual = hash(dagId + 'm') < 0.08;
  const tier = 1 + Math.floor(hash(dagId + 't') * 3);
  const hasErrors = hash(dagId + 'e') < 0.012;
  return {
    dag_id: dagId,
    paused: isPaused,
    schedule: manual ? '' : schedule,
    schedule_text: manual ? 'Only when triggered' : text,
    owner: pick(OWNERS, dagId + 'o'),
    project: pick(AREAS, dagId + 'a'),
    tier,
    tags: TAGS.filter((tag) => hash(dagId + tag) < 0.22),
    description: `Keeps ${dagId.replaceAll('_', ' ')} fresh`,
    version: '5c1e8f2ab034',
    relative_path: `dags/${dagId}.py`,
    partition: `spinner_tier_${tier}_${Math.floor(hash(dagId) * 4)}`,
    next_run_time: isPaused || manual ? null : iso(Math.ceil(now / (hours * HOUR)) * hours * HOUR),
    next_logical_date: null,
    no_next_run_reason: isPaused ? 'Paused' : manual ? 'No schedule' : '',
    active_runs: 0,
    recent_runs: runsOf(dagId, 25),
    dynamic: hash(dagId + 'd') < 0.04,
    runtime: 'spinner',
    has_errors: hasErrors,
    can_edit: true,
  };
}

function node(task_id: string, upstream_ids: string[], more: Partial<S['TaskNode']> = {}): S['TaskNode'] {
  return {
    task_id,
    upstream_ids,
    operator: 'PythonOperator',
    group_id: '',
    trigger_rule: 'all_success',
    retries: 2,
    pool: 'default_pool',
    priority_weight: 1,
    mapped: false,
    is_sensor: false,
    is_setup: false,
    is_teardown: false,
    doc_md: '',
    owner: '',
    template_fields: {},
    resources: {},
    ...more,
  };
}

export function layout(dagId: string): S['Layout'] {
  if (dagId === BIG_DAG) {
    const tasks = [node('plan', [])];
    const groups: S['GroupNode'][] = [];
    for (let g = 0; g < 50; g += 1) {
      const group_id = `shard_${String(g).padStart(2, '0')}`;
      groups.push({ group_id, parent_id: '', label: '', tooltip: '', mapped: false });
      for (let t = 0; t < 100; t += 1) {
        const id = `${group_id}.load_${String(t).padStart(2, '0')}`;
        const before = t === 0 ? 'plan' : `${group_id}.load_${String(t - 1).padStart(2, '0')}`;
        tasks.push(node(id, [before], { group_id }));
      }
    }
    return { dag_id: dagId, version: '5c1e8f2ab034', tasks, groups, edge_labels: [] };
  }
  const tasks = [
    node('wait_for_partition', [], { operator: 'FileSensor', is_sensor: true }),
    node('choose_path', ['wait_for_partition'], { operator: 'BranchPythonOperator' }),
    node('extract.list_files', ['choose_path'], { group_id: 'extract' }),
    node('extract.fetch', ['extract.list_files'], { group_id: 'extract', mapped: true }),
    node('extract.check', ['extract.fetch'], { group_id: 'extract', operator: 'BashOperator' }),
    node('use_cache', ['choose_path'], { operator: 'EmptyOperator' }),
    node('transform', ['extract.check', 'use_cache'], { trigger_rule: 'none_failed_min_one_success' }),
    node('load', ['transform'], { operator: 'BashOperator', resources: { memory: '512Mi', cpu: 1 } }),
    node('quality.row_count', ['load'], { group_id: 'quality' }),
    node('quality.null_rate', ['load'], { group_id: 'quality' }),
    node('publish', ['quality.row_count', 'quality.null_rate'], { operator: 'TriggerDagRunOperator' }),
    node('notify', ['publish'], { trigger_rule: 'all_done', is_teardown: true }),
  ];
  const group = (group_id: string, label: string) => ({
    group_id,
    parent_id: '',
    label,
    tooltip: '',
    mapped: false,
  });
  return {
    dag_id: dagId,
    version: '5c1e8f2ab034',
    tasks,
    groups: [group('extract', 'Extract'), group('quality', 'Quality checks')],
    edge_labels: [{ upstream_id: 'choose_path', downstream_id: 'use_cache', label: 'cached' }],
  };
}

export function stateOf(run: S['RunSummary'], taskId: string, index: number, count: number): TaskStateName {
  const key = `${run.run_id}/${taskId}`;
  if (retried.has(`${run.dag_id}/${run.run_id}/load`) && ['load'].includes(taskId)) return 'running';
  if (run.state === 'queued') return 'none';
  if (taskId === 'use_cache') return 'skipped';
  if (run.state === 'running') {
    const at = run.dag_id === BIG_DAG ? hash(key) * 1.4 : index / count / 0.6;
    if (run.dag_id === BIG_DAG && hash(key + 'f') < 0.004) return 'failed';
    if (run.dag_id === BIG_DAG && hash(key + 'u') < 0.006) return 'up_for_retry';
    return at < 0.9
      ? 'success'
      : at < 1.0
        ? 'running'
        : at < 1.05
          ? 'queued'
          : at < 1.1
            ? 'deferred'
            : 'scheduled';
  }
  if (run.state === 'failed') {
    if (taskId === 'load') return 'failed';
    return index < 7 ? 'success' : taskId === 'notify' ? 'success' : 'upstream_failed';
  }
  return 'success';
}

export function instances(run: S['RunSummary']): S['TaskInstance'][] {
  const tasks = layout(run.dag_id).tasks;
  const begin = Date.parse(run.start_time ?? run.queued_time ?? iso(now));
  const list: S['TaskInstance'][] = [];
  tasks.forEach((task, index) => {
    const state = stateOf(run, task.task_id, index, tasks.length);
    const started = !['none', 'scheduled', 'queued', 'upstream_failed', 'skipped'].includes(state);
    const from = begin + (run.dag_id === BIG_DAG ? hash(task.task_id) * 5_000_000 : index * 21_000);
    const seconds = 6 + 90 * hash(run.run_id + task.task_id);
    const ended = started && !['running', 'deferred'].includes(state);
    const again = retried.has(`${run.dag_id}/${run.run_id}/load`) && task.task_id === 'load' ? 1 : 0;
    for (let map = task.mapped ? 0 : -1; map < (task.mapped ? 8 : 0); map += 1) {
      list.push({
        dag_id: run.dag_id,
        run_id: run.run_id,
        task_id: task.task_id,
        map_index: map,
        state,
        marked: false,
        try_number: (started ? (state === 'failed' ? 2 : 1) : 0) + (again ? 2 : 0),
        operator: task.operator,
        pool: task.pool,
        start_time: started ? iso(from + Math.max(0, map) * 900) : null,
        end_time: ended ? iso(from + Math.max(0, map) * 900 + seconds * 1000) : null,
        duration_seconds: ended ? seconds : null,
        next_time: state === 'up_for_retry' ? iso(now + 240_000) : null,
        reason:
          state === 'upstream_failed'
            ? 'load failed'
            : state === 'skipped'
              ? 'choose_path chose extract'
              : '',
        worker: started ? 'worker-3' : '',
        application_id: '',
        category: state === 'failed' ? 'missing_file' : '',
      });
    }
  });
  return list;
}
