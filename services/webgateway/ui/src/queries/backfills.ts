/** Backfills: lists, intervals, plans, and what can be done with them. */
import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
  useQueryClient,
} from '@tanstack/react-query';
import { client, unwrap, type Schemas } from './client';
import { keys } from './keys';
import { useOnce } from './once';

export type BackfillWish = Pick<Schemas['BackfillRequest'], 'from_date' | 'to_date'> &
  Partial<Schemas['BackfillRequest']>;

/** Of one DAG, or of all. */
export const backfillsQuery = (dagId?: string) =>
  infiniteQueryOptions({
    queryKey: dagId ? keys.dag(dagId, 'backfills') : keys.runList({ backfills: true }),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/backfills', {
          params: { query: { dag_id: dagId, limit: 50, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });

export const intervalsQuery = (dagId: string, backfillId: string) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'backfills', backfillId, 'intervals'),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/backfills/{backfill_id}/intervals', {
          params: { path: { dag_id: dagId, backfill_id: backfillId }, query: { limit: 500 } },
          signal,
        }),
      ),
  });

export function useBackfill(dagId: string) {
  const queries = useQueryClient();
  const once = useOnce();
  return useMutation({
    mutationFn: (wish: BackfillWish) =>
      once.send([dagId, wish], (request_id) =>
        unwrap(
          client.POST('/api/v1/dags/{dag_id}/backfills', {
            params: { path: { dag_id: dagId } },
            body: {
              run_order: 'forward',
              reprocess_behavior: 'none',
              max_active_runs: 0,
              task_ids: [],
              conf: {},
              skip_callbacks: false,
              pool: '',
              note: '',
              partition_key: '',
              override_cap: false,
              dry_run: false,
              ...wish,
              request_id,
            },
          }),
        ),
      ),
    onSuccess: (result) => {
      if (result.plan) return;
      void queries.invalidateQueries({ queryKey: ['dag', dagId] });
      void queries.invalidateQueries({ queryKey: ['run-list'] });
    },
    meta: { handled: true },
  });
}

export function useChangeBackfill() {
  const queries = useQueryClient();
  const once = useOnce();
  return useMutation({
    mutationFn: ({
      dagId,
      backfillId,
      ...body
    }: { dagId: string; backfillId: string } & Pick<Schemas['BackfillChange'], 'state'> & {
        stop_runs?: boolean;
      }) =>
      once.send([dagId, backfillId, body], (request_id) =>
        unwrap(
          client.PATCH('/api/v1/dags/{dag_id}/backfills/{backfill_id}', {
            params: { path: { dag_id: dagId, backfill_id: backfillId } },
            body: { stop_runs: false, ...body, request_id },
          }),
        ),
      ),
    onSuccess: (_, { dagId }) => {
      void queries.invalidateQueries({ queryKey: ['dag', dagId] });
      void queries.invalidateQueries({ queryKey: ['run-list'] });
    },
    meta: { action: 'Change' },
  });
}
