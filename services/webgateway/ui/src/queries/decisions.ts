/** What tasks ask people, and the answers. */
import { keepPreviousData, queryOptions, useMutation, useQueryClient } from '@tanstack/react-query';
import { client, unwrap, type Schemas } from './client';
import { keys } from './keys';
import { useOnce } from './once';

export type Decision = Schemas['Decision'];

/** What waits for a person; with `all` also what was decided. */
export const decisionsQuery = (all = false) =>
  queryOptions({
    queryKey: keys.runList({ decisions: all }),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/decisions', {
          params: { query: { state: all ? '' : 'waiting', limit: 200 } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const decisionQuery = (dagId: string, runId: string, taskId: string, mapIndex: number) =>
  queryOptions({
    queryKey: keys.run(dagId, runId, 'decision', taskId, mapIndex),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/decision', {
          params: { path: { dag_id: dagId, run_id: runId, task_id: taskId, map_index: mapIndex } },
          signal,
        }),
      ),
  });

export function useDecide() {
  const queries = useQueryClient();
  const once = useOnce();
  return useMutation({
    mutationFn: ({
      decision,
      ...body
    }: { decision: Decision } & Pick<Schemas['DecisionRequest'], 'chosen_options' | 'params' | 'note'>) => {
      const path = {
        dag_id: decision.dag_id,
        run_id: decision.run_id,
        task_id: decision.task_id,
        map_index: decision.map_index,
      };
      return once.send([path, body], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/decision', {
            params: { path },
            body: { ...body, request_id },
          }),
        ),
      );
    },
    onSuccess: (_, { decision }) => {
      void queries.invalidateQueries({ queryKey: ['run', decision.dag_id, decision.run_id] });
      void queries.invalidateQueries({ queryKey: ['run-list'] });
    },
    meta: { handled: true },
  });
}
