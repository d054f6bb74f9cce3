/** Tries, logs, events and errors of the mock gateway. */
import type { components } from '../src/api-gen/schema';
import { dagIds, retried } from './mockData.ts';

type S = components['schemas'];

export const LOG_LINES = 120_000;
export const CRITICAL = [418, 1306, 119_972, 119_988];

export function logLine(line: number, failed: boolean, total: number): S['LogLine'] {
  const stage =
    line < 6
      ? 'ReadinessStage'
      : line < 24
        ? 'ParseStage'
        : line > total - 6
          ? 'LogUploadStage'
          : 'TaskExecStage';
  const time = new Date(Date.UTC(2026, 10, 27, 8, 0, 0) + line * 37).toISOString();
  const critical = failed && (CRITICAL.includes(line) || line === total - 12);
  const texts = [
    `Read partition dt=2026-11-${String((line % 28) + 1).padStart(2, '0')} (${(line * 7919) % 90_000} rows)`,
    'Connection pool: 4 of 16 in use',
    `\u001b[32mwrote\u001b[0m part-${String(line).padStart(6, '0')}.parquet, 18.2 MiB, 0.42 s`,
    `retrying GET /v1/shards/${line % 64}/manifest after 503 (attempt 2 of 5)`,
  ];
  const level = line % 97 === 0 ? 'WARNING' : line % 5 === 0 ? 'DEBUG' : 'INFO';
  if (critical) {
    return {
      line,
      time,
      level: 'ERROR',
      stage,
      logger: 'etl.load',
      text: "FileNotFoundError: [Errno 2] No such file or directory: '/data/weather/2026-11-26/stations.csv'",
      critical,
    };
  }
  const raw = line % 11 === 0;
  return {
    line,
    time: raw ? null : time,
    level: raw ? '' : level,
    stage,
    logger: raw ? '' : 'etl.load',
    text: texts[line % 4] as string,
    critical: false,
  };
}

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 27, 8, 0, 0) + seconds * 1000).toISOString();

function stages(failed: boolean, running: boolean): S['Stage'][] {
  const names: [string, number][] = [
    ['QueueStage', 1.2],
    ['LaunchStage', 0.08],
    ['ReadinessStage', 0.02],
    ['ParseStage', 0.31],
    ['TaskExecStage', 74.4],
    ['CallbackStage', 0.2],
    ['LogUploadStage', 0.4],
  ];
  let clock = 0;
  return names.slice(0, running ? 5 : 7).map(([name, seconds]) => {
    const begin = clock;
    clock += seconds;
    const exec = name === 'TaskExecStage';
    return {
      name,
      start_time: at(begin),
      end_time: running && exec ? null : at(clock),
      seconds: running && exec ? null : seconds,
      outcome: exec ? (running ? 'running' : failed ? 'failed' : 'success') : 'success',
      message: exec && failed ? 'FileNotFoundError' : '',
      category: exec && failed ? 'missing_file' : '',
    };
  });
}

export function details(instance: S['TaskInstance']): S['TaskInstanceDetails'] {
  const tries: S['Try'][] = [];
  for (let number = 1; number <= instance.try_number; number += 1) {
    const last = number === instance.try_number;
    const running = last && instance.state === 'running';
    const failed = !running && (!last || instance.state === 'failed');
    tries.push({
      try_number: number,
      state: running ? 'running' : failed ? 'failed' : 'success',
      outcome: running ? '' : failed ? 'failed' : 'success',
      message: failed ? "FileNotFoundError: '/data/weather/2026-11-26/stations.csv'" : '',
      exit_code: running ? null : failed ? 1 : 0,
      start_time: at(number * 100),
      end_time: running ? null : at(number * 100 + 76),
      duration_seconds: running ? null : 76.4,
      stages: stages(failed, running),
      peak_memory_bytes: 213_909_504,
      cpu_seconds: 61.2,
      memory_request_bytes: 268_435_456,
      memory_limit_bytes: 536_870_912,
      memory_source: 'learned',
      log_bytes: 12_400_000,
      worker: 'worker-3',
      rendered: {
        bash_command: 'python load.py --date 2026-11-26 --table weather.stations',
        env: { PARTITION: 'dt=2026-11-26', TARGET: 'weather.stations' },
      },
      diagnosis: failed
        ? {
            category: 'missing_file',
            title: 'A file that the task reads does not exist',
            owner: 'DAG author',
            confidence: 0.92,
            stage: 'TaskExecStage',
            evidence: [
              { line: 119_972, text: "open('/data/weather/2026-11-26/stations.csv')" },
              {
                line: 119_988,
                text: "FileNotFoundError: [Errno 2] No such file or directory: '/data/weather/2026-11-26/stations.csv'",
              },
            ],
            how_to_fix:
              'Check that the upstream task wrote 2026-11-26, or add a FileSensor before this task. If the path changed, correct it in the DAG file.',
            fingerprint: 'f3a9',
            similar_count: 12,
          }
        : null,
    });
  }
  return { ...instance, tries, upstream_states: { transform: 'success' } };
}

export function parseErrors(): S['ParseError'][] {
  const kinds = [
    [
      'SyntaxError',
      "'(' was never closed",
      'with DAG("broken"',
      'Close the bracket that opens on this line.',
    ],
    ['ModuleNotFoundError', "No module named 'pandsa'", 'import pandsa as pd', 'Did you mean pandas?'],
    [
      'ParseTimeout',
      'The file took longer than 30 s to parse',
      'rows = fetch_all()',
      'Move the call into a task.',
    ],
    ['MissingTier', 'DAG weekly_report has no tier', 'with DAG("weekly_report"):', 'Add tier=1, 2 or 3.'],
  ] as const;
  return kinds.map(([error_type, message, source_line, fix], i) => ({
    bundle: 'main',
    relative_path: `dags/team_${i + 1}/broken_${i + 1}.py`,
    bundle_version: 'a91bc02',
    error_type,
    message,
    stack_trace: `Traceback (most recent call last):\n  File "dags/team_${i + 1}/broken_${i + 1}.py", line ${12 + i}, in <module>\n    ${source_line}\n${error_type}: ${message}`,
    line: 12 + i,
    source_line,
    fix,
    dag_ids: i === 3 ? [dagIds[5] as string] : [],
    detected_time: new Date(Date.now() - 7_200_000 * (i + 1)).toISOString(),
    last_updated_time: new Date(Date.now() - 600_000 * (i + 1)).toISOString(),
    findings: [],
  }));
}

export function events(run: S['RunSummary']): S['EventEntry'][] {
  const begin = Date.parse(run.queued_time ?? '');
  const kinds = ['task_scheduled', 'task_queued', 'task_started', 'task_finished'];
  const list: S['EventEntry'][] = [
    {
      position: '0:1:0',
      time: run.queued_time ?? '',
      kind: 'run_created',
      task_id: '',
      map_index: -1,
      text: 'Run created by the schedule',
      details: { version: run.version },
    },
  ];
  for (let i = 0; i < 44; i += 1) {
    const task_id =
      ['wait_for_partition', 'choose_path', 'extract.list_files', 'extract.check', 'transform', 'load'][
        Math.floor(i / 8)
      ] ?? 'load';
    list.push({
      position: `0:${i + 2}:0`,
      time: new Date(begin + i * 2200).toISOString(),
      kind: kinds[i % 4] as string,
      task_id,
      map_index: -1,
      text: `${task_id} is ${['scheduled', 'queued', 'running', 'success'][i % 4]}`,
      details: { try_number: 1 },
    });
  }
  return list;
}

export function audit(): S['AuditEntry'][] {
  const actions = ['trigger_run', 'pause_dag', 'clear_tasks', 'mark_tasks', 'put_variable'];
  return Array.from({ length: 60 }, (_, i) => ({
    time: new Date(Date.now() - i * 400_000).toISOString(),
    actor: i % 3 ? 'dev' : 'ana.ruiz',
    via: i % 4 ? 'ui' : 'cli',
    action: actions[i % 5] as string,
    subject: dagIds[(i * 7) % 900] as string,
    result: i % 9 === 4 ? 'refused: already paused' : 'accepted',
    details: { request_id: `req-${i}` },
  }));
}

export function retry(dagId: string, runId: string): void {
  retried.add(`${dagId}/${runId}/load`);
}
