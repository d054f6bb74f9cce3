/** One task instance, its XComs, and its log as a window. */
import { queryOptions } from '@tanstack/react-query';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { CHUNK_LINES, LogWindow, type LogPage } from '../lib/logWindow';
import type { ApiProblem } from './client';
import { API, asProblem, client, unwrap } from './client';
import { keys } from './keys';

export interface TaskKey {
  dagId: string;
  runId: string;
  taskId: string;
  mapIndex: number;
}

const pathOf = (key: TaskKey) => ({
  dag_id: key.dagId,
  run_id: key.runId,
  task_id: key.taskId,
  map_index: key.mapIndex,
});

export const taskQuery = (key: TaskKey) =>
  queryOptions({
    queryKey: keys.run(key.dagId, key.runId, 'task', key.taskId, key.mapIndex),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}', {
          params: { path: pathOf(key) },
          signal,
        }),
      ),
  });

export const xcomQuery = (key: TaskKey) =>
  queryOptions({
    queryKey: keys.run(key.dagId, key.runId, 'xcom', key.taskId, key.mapIndex),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/xcom', {
          params: { path: pathOf(key) },
          signal,
        }),
      ),
  });

/** Address of a try's log: `''` for JSON windows, `'/stream'`, `'/raw'`. */
export function logUrl(key: TaskKey, tryNumber: number, kind: '' | '/stream' | '/raw'): string {
  const part = encodeURIComponent;
  return (
    `${API}/dags/${part(key.dagId)}/runs/${part(key.runId)}/tasks/${part(key.taskId)}/${key.mapIndex}` +
    `/tries/${tryNumber}/log${kind}`
  );
}

async function fetchLog(url: string, query: string, signal: AbortSignal): Promise<LogPage> {
  return unwrap<LogPage>(
    fetch(`${url}?${query}`, { signal }).then(async (response) => {
      const body: unknown = await response.json().catch(() => null);
      return { response, data: body as LogPage, error: body };
    }),
  );
}

export interface LogHandle {
  window: LogWindow;
  version: number;
  /** The first window has arrived. */
  ready: boolean;
  problem: ApiProblem | null;
  /** Asks for the lines that are missing in a range. */
  need: (first: number, last: number) => void;
}

/**
 * The log of a try. `live` follows the stream while the try runs; when it ends, or the stream breaks, what is
 * missing is fetched by lines.
 */
export function useLog(key: TaskKey, tryNumber: number, live: boolean): LogHandle {
  const url = logUrl(key, tryNumber, '');
  const [state, setState] = useState(() => ({ url, window: new LogWindow() }));
  const [problem, setProblem] = useState<ApiProblem | null>(null);
  const [ready, setReady] = useState(false);
  if (state.url !== url) {
    setState({ url, window: new LogWindow() });
    setProblem(null);
    setReady(false);
  }
  const window = state.window;
  const version = useSyncExternalStore(window.subscribe, () => window.version);

  useEffect(() => {
    const abort = new AbortController();
    let stream: EventSource | null = null;
    let retry: ReturnType<typeof setTimeout> | undefined;
    const follow = () => {
      stream = new EventSource(`${url}/stream?offset=${window.nextOffset}`);
      const take = (event: Event) => {
        const page = JSON.parse((event as MessageEvent<string>).data) as LogPage;
        if (page.lines) window.put(page);
        if (page.complete) stream?.close();
      };
      stream.onmessage = take;
      stream.addEventListener('log', take);
      stream.addEventListener('end', () => stream?.close());
      stream.onerror = () => {
        stream?.close();
        if (!window.complete) retry = setTimeout(() => void start(), 2000);
      };
    };
    const start = async () => {
      try {
        const query = live || window.total > 0 ? `tail=${CHUNK_LINES}` : `first_line=1&limit=${CHUNK_LINES}`;
        window.put(await fetchLog(url, query, abort.signal));
        setProblem(null);
        setReady(true);
        if (live && !window.complete) follow();
      } catch (error) {
        if (abort.signal.aborted) return;
        const found = asProblem(error);
        setProblem(found.status === 404 ? null : found);
        setReady(found.status === 404);
        if (live || found.status === 0) retry = setTimeout(() => void start(), 2000);
      }
    };
    void start();
    return () => {
      abort.abort();
      clearTimeout(retry);
      stream?.close();
    };
  }, [url, live, window]);

  const need = (first: number, last: number) => {
    for (const line of window.take(first, last)) {
      fetchLog(url, `first_line=${line}&limit=${CHUNK_LINES}`, new AbortController().signal)
        .then((page) => window.put(page))
        .catch((error: unknown) => setProblem(asProblem(error)))
        .finally(() => window.release(line));
    }
  };
  return { window, version, ready, problem, need };
}
