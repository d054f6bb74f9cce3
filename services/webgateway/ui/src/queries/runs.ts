/** Runs: lists, one run, its tasks and events, and what can be done to it. */
import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
  useQueryClient,
} from '@tanstack/react-query';
import { client, unwrap, type Schemas, type TaskInstance } from './client';
import { keys } from './keys';
import { useOnce } from './once';

const PAGE = 100;
const TASK_PAGE = 500;

export const runListQuery = (filters: {
  dag_id?: string;
  state?: string;
  due_from?: string;
  due_to?: string;
}) =>
  infiniteQueryOptions({
    queryKey: filters.dag_id ? keys.dag(filters.dag_id, 'runs', filters) : keys.runList(filters),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/runs', {
          params: { query: { ...filters, limit: PAGE, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });

/** Callbacks and e-mails of the run's and its tasks' ends. */
export const callbacksQuery = (dagId: string, runId: string) =>
  queryOptions({
    queryKey: keys.run(dagId, runId, 'callbacks'),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/callbacks', {
          params: { path: { dag_id: dagId, run_id: runId } },
          signal,
        }),
      ),
  });

export const runQuery = (dagId: string, runId: string) =>
  queryOptions({
    queryKey: keys.run(dagId, runId, 'details'),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}', {
          params: { path: { dag_id: dagId, run_id: runId } },
          signal,
        }),
      ),
  });

/** All task instances of a run, page by page into one list. */
export const runTasksQuery = (dagId: string, runId: string, taskId?: string) =>
  queryOptions({
    queryKey: keys.run(dagId, runId, 'tasks', taskId ?? ''),
    queryFn: async ({ signal }) => {
      const all: TaskInstance[] = [];
      let cursor: string | undefined;
      do {
        const page: Schemas['Page_TaskInstance_'] = await unwrap(
          client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/tasks', {
            params: {
              path: { dag_id: dagId, run_id: runId },
              query: { limit: TASK_PAGE, cursor, task_id: taskId },
            },
            signal,
          }),
        );
        all.push(...page.items);
        cursor = page.next_cursor ?? undefined;
      } while (cursor);
      return all;
    },
    placeholderData: keepPreviousData,
  });

export const runEventsQuery = (dagId: string, runId: string) =>
  infiniteQueryOptions({
    queryKey: keys.run(dagId, runId, 'events'),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/events', {
          params: { path: { dag_id: dagId, run_id: runId }, query: { limit: 500, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

function useRefresh() {
  const queries = useQueryClient();
  return (dagId: string, runId?: string) => {
    void queries.invalidateQueries({ queryKey: ['dag', dagId] });
    void queries.invalidateQueries({ queryKey: ['dag-list'] });
    if (runId) void queries.invalidateQueries({ queryKey: ['run', dagId, runId] });
  };
}

export function useTrigger(dagId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: (body: Partial<Omit<Schemas['TriggerRequest'], 'request_id'>>) =>
      once.send([dagId, body], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs', {
            params: { path: { dag_id: dagId } },
            body: { conf: {}, note: '', partition_key: '', ...body, request_id },
          }),
        ),
      ),
    onSuccess: () => refresh(dagId),
    meta: { handled: true },
  });
}

export interface ClearChoice {
  task_ids?: string[];
  map_indexes?: number[];
  upstream?: boolean;
  downstream?: boolean;
  past?: boolean;
  future?: boolean;
  only_failed?: boolean;
  latest_version?: boolean;
  conf?: Record<string, unknown>;
}

interface ClearMode {
  dry_run: boolean;
  request_id?: string;
}

function clearRun(dagId: string, runId: string, choice: ClearChoice, mode: ClearMode, signal?: AbortSignal) {
  return unwrap(
    client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/clear', {
      params: { path: { dag_id: dagId, run_id: runId } },
      body: {
        task_ids: [],
        map_indexes: [],
        upstream: false,
        downstream: false,
        past: false,
        future: false,
        only_failed: false,
        latest_version: false,
        ...choice,
        ...mode,
      },
      signal,
    }),
  );
}

/** What a clear would touch. */
export const clearPreviewQuery = (dagId: string, runId: string, choice: ClearChoice) =>
  queryOptions({
    queryKey: keys.run(dagId, runId, 'clear-preview', choice),
    queryFn: ({ signal }) => clearRun(dagId, runId, choice, { dry_run: true }, signal),
    placeholderData: keepPreviousData,
    gcTime: 0,
  });

export function useClear(dagId: string, runId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: (choice: ClearChoice) =>
      once.send([dagId, runId, choice], (request_id) =>
        clearRun(dagId, runId, choice, { dry_run: false, request_id }),
      ),
    onSuccess: () => refresh(dagId, runId),
    meta: { handled: true },
  });
}

export function useMarkTasks(dagId: string, runId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: (
      body: Pick<Schemas['MarkTasksRequest'], 'task_ids' | 'state'> & { map_indexes?: number[] },
    ) =>
      once.send([dagId, runId, body], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/mark-tasks', {
            params: { path: { dag_id: dagId, run_id: runId } },
            body: {
              map_indexes: [],
              upstream: false,
              downstream: false,
              past: false,
              future: false,
              ...body,
              request_id,
            },
          }),
        ),
      ),
    onSuccess: () => refresh(dagId, runId),
    meta: { action: 'Mark' },
  });
}

export function useKillTasks(dagId: string, runId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: (body: { task_ids: string[]; map_indexes?: number[] }) =>
      once.send([dagId, runId, body], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/kill-tasks', {
            params: { path: { dag_id: dagId, run_id: runId } },
            body: { map_indexes: [], ...body, request_id },
          }),
        ),
      ),
    onSuccess: () => refresh(dagId, runId),
    meta: { action: 'Kill' },
  });
}

export function useMarkRun(dagId: string, runId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: (state: 'success' | 'failed') =>
      once.send([dagId, runId, state], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/mark', {
            params: { path: { dag_id: dagId, run_id: runId } },
            body: { state, request_id },
          }),
        ),
      ),
    onSuccess: () => refresh(dagId, runId),
    meta: { action: 'Mark' },
  });
}

export function useStopRun(dagId: string, runId: string) {
  const refresh = useRefresh();
  const once = useOnce();
  return useMutation({
    mutationFn: () =>
      once.send([dagId, runId], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/stop', {
            params: { path: { dag_id: dagId, run_id: runId } },
            body: { request_id },
          }),
        ),
      ),
    onSuccess: () => refresh(dagId, runId),
    meta: { action: 'Stop' },
  });
}
