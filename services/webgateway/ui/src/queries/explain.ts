/** Why is nothing running: asked of the live scheduler, so it is asked again while it is shown. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { client, unwrap, type Explanation } from './client';
import { keys } from './keys';

export interface ExplainSubject {
  dagId: string;
  runId?: string;
  taskId?: string;
  mapIndex?: number;
}

const AGAIN_MS = 3_000;

/** `state`: of the subject as the page knows it; when it changes, the answer is fetched at once. */
export const explainQuery = (subject: ExplainSubject, state: string) =>
  queryOptions({
    queryKey: keys.explain(subject, state),
    queryFn: ({ signal }) => ask(subject, signal),
    refetchInterval: AGAIN_MS,
    placeholderData: keepPreviousData,
    retry: false,
  });

function ask({ dagId, runId, taskId, mapIndex }: ExplainSubject, signal: AbortSignal): Promise<Explanation> {
  if (runId === undefined)
    return unwrap(
      client.GET('/api/v1/dags/{dag_id}/explain', { params: { path: { dag_id: dagId } }, signal }),
    );
  if (taskId === undefined)
    return unwrap(
      client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/explain', {
        params: { path: { dag_id: dagId, run_id: runId } },
        signal,
      }),
    );
  return unwrap(
    client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/explain', {
      params: { path: { dag_id: dagId, run_id: runId, task_id: taskId, map_index: mapIndex ?? -1 } },
      signal,
    }),
  );
}
