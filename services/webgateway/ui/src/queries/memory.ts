/** What a DAG's tasks ask for, and changes of it. */
import { queryOptions, useMutation, useQueryClient } from '@tanstack/react-query';
import { client, unwrap, type TaskMemory } from './client';
import { keys } from './keys';

export const memoryQuery = (dagId: string) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'memory'),
    queryFn: ({ signal }) =>
      unwrap(client.GET('/api/v1/dags/{dag_id}/memory', { params: { path: { dag_id: dagId } }, signal })),
  });

export interface MemoryChange {
  taskId: string;
  /** Like "512Mi"; empty: as learned. */
  request: string;
  limit: string;
}

/** Puts a change into what is shown; the views follow a moment later. */
function useShown(dagId: string) {
  const queries = useQueryClient();
  return (taskId: string, change: (before: TaskMemory) => TaskMemory) =>
    queries.setQueryData(memoryQuery(dagId).queryKey, (before) =>
      before?.map((task) => (task.task_id === taskId ? change(task) : task)),
    );
}

export function useSetMemory(dagId: string) {
  const show = useShown(dagId);
  return useMutation({
    mutationFn: ({ taskId, request, limit }: MemoryChange) =>
      unwrap(
        client.PUT('/api/v1/dags/{dag_id}/tasks/{task_id}/memory', {
          params: { path: { dag_id: dagId, task_id: taskId } },
          body: { memory_request: request.trim() || null, memory_limit: limit.trim() || null },
        }),
      ),
    onSuccess: (changed) => show(changed.task_id, () => changed),
    meta: { handled: true, action: 'Save' },
  });
}

export function useResetMemory(dagId: string) {
  const show = useShown(dagId);
  return useMutation({
    mutationFn: (taskId: string) =>
      unwrap(
        client.DELETE('/api/v1/dags/{dag_id}/tasks/{task_id}/memory', {
          params: { path: { dag_id: dagId, task_id: taskId } },
        }),
      ),
    onSuccess: (_, taskId) =>
      show(taskId, (task) => ({
        ...task,
        request_bytes: task.configured_request_bytes,
        limit_bytes: task.configured_limit_bytes,
        source: task.configured_request_bytes || task.configured_limit_bytes ? 'configured' : '',
        learned_request_bytes: 0,
        raised_limit_bytes: 0,
        set_request_bytes: 0,
        set_limit_bytes: 0,
        samples: [],
      })),
    meta: { handled: true, action: 'Reset' },
  });
}
