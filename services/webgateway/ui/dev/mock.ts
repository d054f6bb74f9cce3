/**
 * A development aid: a gateway with invented data inside Vite's server (`npm run dev:mock`), to look at the pages and
 * to measure them at 1,000 DAGs and 5,000 tasks without a stack. It answers the same REST paths as the real one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plugin } from 'vite';
import type { components } from '../src/api-gen/schema';
import { addRun, BIG_DAG, dag, dagIds, instances, layout, runsOf, setPaused, stateOf } from './mockData.ts';
import { calendar, durations, simulation, taskDurations } from './mockTimings.ts';
import { audit, details, events, LOG_LINES, logLine, parseErrors, retry } from './mockTasks.ts';

type S = components['schemas'];
type Handler = (match: string[], query: URLSearchParams, body: Record<string, unknown>) => unknown;

const streams = new Set<ServerResponse>();

class NotFound extends Error {}

function page<T>(all: T[], query: URLSearchParams) {
  const from = Number(query.get('cursor') ?? 0);
  const limit = Number(query.get('limit') ?? 100);
  const next = from + limit < all.length ? String(from + limit) : null;
  return { items: all.slice(from, from + limit), total: all.length, next_cursor: next };
}

function findDag(dagId: string): S['DagSummary'] {
  if (!dagIds.includes(dagId)) throw new NotFound(`There is no DAG ${dagId}.`);
  return dag(dagId);
}

function findRun(dagId: string, runId: string): S['RunSummary'] {
  const run = runsOf(dagId, 1000).find((candidate) => candidate.run_id === runId);
  if (!run) throw new NotFound(`DAG ${dagId} has no run ${runId}.`);
  const counts: Record<string, number> = {};
  for (const instance of instances(run)) counts[instance.state] = (counts[instance.state] ?? 0) + 1;
  return { ...run, task_counts: counts };
}

function lastTime(item: S['DagSummary']): string {
  return item.recent_runs.at(-1)?.queued_time ?? '';
}

function listDags(query: URLSearchParams) {
  const text = query.get('query')?.toLowerCase();
  const is = (name: string, value: string) => !query.get(name) || query.get(name) === value;
  let list = dagIds
    .filter((id) => !text || id.includes(text))
    .map(dag)
    .filter(
      (item) =>
        is('owner', item.owner) &&
        is('tier', String(item.tier)) &&
        is('paused', String(item.paused)) &&
        (!query.get('tag') || item.tags.includes(query.get('tag') as string)) &&
        is('state', item.recent_runs.at(-1)?.state ?? ''),
    );
  const sort = query.get('sort') ?? 'dag_id';
  const by: Record<string, (item: S['DagSummary']) => string> = {
    dag_id: (item) => item.dag_id,
    owner: (item) => item.owner,
    tier: (item) => String(item.tier),
    last_run: lastTime,
    next_run_time: (item) => item.next_run_time ?? '~',
  };
  const value = by[sort.replace('-', '')] ?? ((item: S['DagSummary']) => item.dag_id);
  list = list.sort((a, b) => value(a).localeCompare(value(b)));
  if (sort.startsWith('-')) list.reverse();
  return page(list, query);
}

function grid(dagId: string, count: number): S['Grid'] {
  const runs = runsOf(dagId, count);
  const shape = layout(dagId);
  return {
    dag_id: dagId,
    runs,
    layout: shape,
    rows: shape.tasks.map((task, index) => {
      const states = runs.map((run) => stateOf(run, task.task_id, index, shape.tasks.length));
      return {
        task_id: task.task_id,
        states,
        mapped_counts: task.mapped ? states.map((state) => ({ [state]: 8 })) : [],
      };
    }),
  };
}

function notify(dagId: string, runId?: string): void {
  const change = { dags: [dagId], runs: runId ? [[dagId, runId]] : [], parse_errors: false };
  for (const stream of streams) stream.write(`event: change\ndata: ${JSON.stringify(change)}\n\n`);
}

function explanation(dagId: string, runId = '', taskId = ''): S['Explanation'] {
  const holder: S['Party'] = {
    kind: 'task',
    name: 'load_stations',
    dag_id: dagId,
    run_id: runId,
    task_id: 'load_stations',
    map_index: -1,
    try_number: 1,
    state: 'running',
    since: null,
  };
  const pool = {
    code: 'POOL_FULL',
    message: '16 of 16 slots of pool warehouse are taken; 3 are before it in the queue',
    holders: [holder],
    fix: 'Wait until a holder ends, or give it more: spinner pools set warehouse SLOTS',
  };
  const idle = {
    code: 'NO_SCHEDULE',
    message: 'it has no schedule: it runs when triggered',
    holders: [],
    fix: `Trigger it: spinner dags trigger ${dagId}. Or give it a schedule.`,
  };
  const one = runId ? pool : idle;
  return {
    subject: { dag_id: dagId, run_id: runId, task_id: taskId, map_index: null },
    state: runId ? 'scheduled' : 'active',
    reasons: [
      {
        ...one,
        since: new Date(Date.now() - 180_000).toISOString(),
        until: null,
        holder_count: one.holders.length,
        waiting: [],
        waiting_count: 0,
        note: false,
      },
    ],
    time: new Date().toISOString(),
    partition: 'spinner_tier_1_0',
  };
}

const accepted = (run_id = '', task_count = 0) => ({ request_id: 'mock', run_id, task_count });

const pools = [
  {
    name: 'default_pool',
    slots: 128,
    description: 'Everything without a pool',
    include_deferred: false,
    running: 41,
    queued: 3,
  },
  {
    name: 'warehouse',
    slots: 16,
    description: 'Queries on the warehouse',
    include_deferred: false,
    running: 16,
    queued: 22,
  },
];
const variables = [
  { name: 'alert_channel', value: '#data-alerts', secret: false, description: 'Where failures are posted' },
  { name: 'api_key', value: null, secret: true, description: '' },
];
const connections = [
  {
    connection_id: 'warehouse',
    type: 'mysql',
    host: 'db.internal',
    port: 3306,
    schema: 'dw',
    login: 'etl',
    has_password: true,
    description: '',
  },
];

const RUN = '/dags/([^/]+)/runs/([^/]+)';
const TASK = `${RUN}/tasks/([^/]+)/(-?\\d+)`;
const routes: [string, string, Handler][] = [
  ['GET', '/viewer', () => ({ name: 'dev', roles: ['admin'], development: true })],
  [
    'GET',
    '/system',
    () => ({ version: '0.1.0', environment: 'mock', cluster: 'spinner', search: 'database', views_lag: 0 }),
  ],
  ['GET', '/dags', (_m, query) => listDags(query)],
  [
    'GET',
    '/dags/([^/]+)',
    ([id = '']) => ({
      ...findDag(id),
      doc_md: 'Loads the daily weather observations.\n\nOwner on call: #data-platform.',
      start_date: '2026-01-01T00:00:00Z',
      end_date: null,
      catchup: false,
      max_active_runs: 16,
      max_active_tasks: 16,
      access_control: { viewers: ['*'] },
      params: {},
      details: { fileloc: `dags/${id}.py` },
      versions: [
        {
          version: '5c1e8f2ab034',
          parsed_time: '2026-11-26T10:00:00Z',
          bundle: 'main',
          bundle_version: 'a91bc02',
          task_count: layout(id).tasks.length,
        },
        {
          version: 'b7d2f0e1c9aa',
          parsed_time: '2026-11-20T10:00:00Z',
          bundle: 'main',
          bundle_version: '77c0d1e',
          task_count: 11,
        },
      ],
    }),
  ],
  [
    'PATCH',
    '/dags/([^/]+)',
    ([id = ''], _q, body) => (setPaused(id, Boolean(body.paused)), notify(id), accepted()),
  ],
  ['GET', '/dags/([^/]+)/layout', ([id = '']) => layout(id)],
  [
    'GET',
    '/dags/([^/]+)/source',
    ([id = ''], query) => ({
      dag_id: id,
      version: query.get('version') ?? '5c1e8f2ab034',
      relative_path: `dags/${id}.py`,
      text: `"""Daily weather."""\nfrom datetime import datetime\n\nfrom spinner import DAG, task\n\nwith DAG(\n    "${id}",\n    schedule="30 2 * * *",\n    start_date=datetime(2026, 1, 1),\n    tier=2,\n) as dag:\n\n    @task(retries=2)\n    def load(day: str) -> int:\n        """Loads one day."""\n        return len(day)\n\n    load("{{ ds }}")\n`,
    }),
  ],
  [
    'GET',
    '/dags/([^/]+)/grid',
    ([id = ''], query) => grid(findDag(id).dag_id, Number(query.get('runs') ?? 25)),
  ],
  ['GET', '/dags/([^/]+)/calendar', ([id = ''], query) => calendar(findDag(id).dag_id, query)],
  ['GET', '/dags/([^/]+)/durations', ([id = ''], query) => durations(findDag(id).dag_id, query)],
  ['GET', '/dags/([^/]+)/task-durations', ([id = ''], query) => taskDurations(findDag(id).dag_id, query)],
  ['POST', '/dags/([^/]+)/simulate', ([id = ''], _q, body) => simulation(findDag(id).dag_id, body)],
  [
    'GET',
    '/runs',
    (_m, query) => {
      const one = query.get('dag_id');
      const all = one
        ? runsOf(one, 1000).reverse()
        : dagIds
            .slice(0, 300)
            .flatMap((id) => runsOf(id, 3))
            .sort((a, b) => (b.queued_time ?? '').localeCompare(a.queued_time ?? ''));
      const state = query.get('state');
      const from = query.get('due_from') ?? '';
      const to = query.get('due_to') ?? '~';
      const due = (run: S['RunSummary']) => run.run_after ?? '';
      return page(
        all.filter((run) => (!state || run.state === state) && due(run) >= from && due(run) < to),
        query,
      );
    },
  ],
  [
    'POST',
    '/dags/([^/]+)/runs',
    ([id = ''], _q, body) => {
      const runId =
        (body.run_id as string | null) ?? `manual__${new Date().toISOString().slice(0, 19)}+00:00`;
      addRun(id, runId);
      notify(id, runId);
      return accepted(runId);
    },
  ],
  [
    'GET',
    RUN,
    ([id = '', run = '']) => ({
      ...findRun(id, run),
      conf: { day: '2026-11-26', full: false },
      awaiting_layout: false,
    }),
  ],
  [
    'POST',
    `${RUN}/clear`,
    ([id = '', run = ''], _q, body) => {
      const ids = body.task_ids as string[];
      const all = instances(findRun(id, run)).filter((item) =>
        body.only_failed
          ? ['failed', 'upstream_failed'].includes(item.state)
          : ids.length === 0 || body.downstream || ids.includes(item.task_id),
      );
      if (!body.dry_run) {
        retry(id, run);
        notify(id, run);
      }
      return {
        tasks: all.slice(0, 200).map((item) => ({
          run_id: item.run_id,
          task_id: item.task_id,
          map_index: item.map_index,
          state: item.state,
          effect: item.state === 'running' ? 'kill' : 'rerun',
          reason: ids.length === 0 || ids.includes(item.task_id) ? 'chosen' : 'downstream',
        })),
        task_count: all.length,
        killed_count: all.filter((item) => item.state === 'running').length,
        removed_count: 0,
        added_count: 0,
        run_count: 1,
        version: '',
      };
    },
  ],
  ['POST', `${RUN}/(?:mark|mark-tasks|stop)`, ([id = '', run = '']) => (notify(id, run), accepted(run, 1))],
  [
    'GET',
    `${RUN}/tasks`,
    ([id = '', run = ''], query) => {
      const task = query.get('task_id');
      return page(
        instances(findRun(id, run)).filter((item) => !task || item.task_id === task),
        query,
      );
    },
  ],
  ['GET', '/dags/([^/]+)/explain', ([id = '']) => explanation(id)],
  ['GET', `${RUN}/explain`, ([id = '', run = '']) => explanation(id, run)],
  ['GET', `${TASK}/explain`, ([id = '', run = '', task = '']) => explanation(id, run, task)],
  ['GET', `${RUN}/events`, ([id = '', run = ''], query) => page(events(findRun(id, run)), query)],
  [
    'GET',
    TASK,
    ([id = '', run = '', task = '', map = '']) => {
      const found = instances(findRun(id, run)).find(
        (item) => item.task_id === task && item.map_index === Number(map),
      );
      if (!found) throw new NotFound(`Run ${run} has no task ${task} [${map}].`);
      return details(found);
    },
  ],
  [
    'GET',
    `${TASK}/tries/(\\d+)/log`,
    ([, , , , number = '1'], query) => {
      const total = Number(number) > 2 ? 900 : LOG_LINES;
      const limit = Number(query.get('limit') ?? 500);
      const first = query.get('tail')
        ? Math.max(1, total - Number(query.get('tail')) + 1)
        : Number(query.get('first_line') ?? 1);
      const lines = [];
      for (let line = first; line < first + limit && line <= total; line += 1)
        lines.push(logLine(line, Number(number) < 3, total));
      return {
        first_line: first,
        lines,
        total_lines: Number(number) > 2 ? null : total,
        next_offset: (first + lines.length) * 100,
        complete: Number(number) < 3,
        truncated: false,
      };
    },
  ],
  [
    'GET',
    `${TASK}/xcom`,
    () => [{ key: 'return_value', value: { rows: 18233, table: 'weather.stations' }, size: 44 }],
  ],
  [
    'GET',
    '/parse-errors',
    (_m, query) =>
      page(
        parseErrors().filter(
          (e) => !query.get('query') || JSON.stringify(e).includes(query.get('query') as string),
        ),
        query,
      ),
  ],
  ['GET', '/parse-errors/history', (_m, query) => page([], query)],
  ['GET', '/decisions', (_m, query) => page([], query)],
  ['GET', '/backfills', (_m, query) => page([], query)],
  ['GET', '/audit', (_m, query) => page(audit(), query)],
  ['GET', '/pools', () => pools],
  ['GET', '/variables', () => variables],
  ['GET', '/connections', () => connections],
  ['PUT', '/(?:pools|variables|connections)/.+', (_m, _q, body) => body],
  ['DELETE', '/(?:pools|variables|connections)/.+', () => accepted()],
  [
    'GET',
    '/search',
    (_m, query): S['SearchHit'][] =>
      dagIds
        .filter((id) => id.includes((query.get('q') ?? '').toLowerCase()))
        .slice(0, 8)
        .map((id) => ({
          kind: 'dag',
          title: id,
          subtitle: dag(id).owner,
          dag_id: id,
          run_id: '',
          task_id: '',
          map_index: -1,
          try_number: 0,
          highlight: '',
        })),
  ],
];

function sse(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.write('event: ping\ndata: {}\n\n');
  streams.add(response);
  request.on('close', () => streams.delete(response));
}

function logStream(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let line = 900;
  const timer = setInterval(() => {
    line += 1;
    const body = {
      first_line: line,
      lines: [logLine(line, false, 1e9)],
      total_lines: null,
      next_offset: line * 100,
      complete: false,
      truncated: false,
    };
    response.write(`data: ${JSON.stringify(body)}\n\n`);
  }, 300);
  request.on('close', () => clearInterval(timer));
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://mock');
  const path = url.pathname.replace('/api/v1', '');
  if (path === '/changes') return sse(request, response);
  if (path.endsWith('/log/stream')) return logStream(request, response);
  let text = '';
  for await (const chunk of request) text += String(chunk);
  const body = text ? (JSON.parse(text) as Record<string, unknown>) : {};
  response.setHeader('content-type', 'application/json');
  for (const [method, pattern, handler] of routes) {
    const match = method === request.method ? new RegExp(`^${pattern}$`).exec(path) : null;
    if (!match) continue;
    try {
      response.end(JSON.stringify(handler(match.slice(1).map(decodeURIComponent), url.searchParams, body)));
    } catch (error) {
      response.statusCode = error instanceof NotFound ? 404 : 500;
      response.end(
        JSON.stringify({
          code: 'not_found',
          message: String((error as Error).message),
          fix: 'Look for it with the search (/).',
        }),
      );
    }
    return;
  }
  response.statusCode = 404;
  response.end(JSON.stringify({ code: 'not_found', message: `No path ${path}.`, fix: '' }));
}

export function mockGateway(): Plugin {
  const use = (server: {
    middlewares: {
      use: (path: string, handler: (request: IncomingMessage, response: ServerResponse) => void) => void;
    };
  }) => {
    server.middlewares.use('/api/v1', (request, response) => void answer(request, response));
    setInterval(() => notify(BIG_DAG, runsOf(BIG_DAG, 1)[0]?.run_id), 5000).unref();
    setInterval(() => streams.forEach((stream) => stream.write('event: ping\ndata: {}\n\n')), 15_000).unref();
  };
  return { name: 'spinner-mock-gateway', configureServer: use, configurePreviewServer: use };
}
