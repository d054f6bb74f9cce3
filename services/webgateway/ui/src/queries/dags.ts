/** DAGs: the list, one DAG and what belongs to its definition. */
import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
  useQueryClient,
  type InfiniteData,
} from '@tanstack/react-query';
import { client, unwrap, type DagDetails, type DagSummary, type Schemas } from './client';
import { keys } from './keys';

export interface DagFilters {
  query?: string;
  owner?: string;
  tier?: number;
  tag?: string;
  paused?: boolean;
  state?: string;
  sort?: string;
}

type DagPage = Schemas['Page_DagSummary_'];
const PAGE = 100;

export const dagListQuery = (filters: DagFilters) =>
  infiniteQueryOptions({
    queryKey: keys.dagList(filters),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/dags', {
          params: { query: { ...filters, limit: PAGE, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });

export const dagQuery = (dagId: string) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'details'),
    queryFn: ({ signal }) =>
      unwrap(client.GET('/api/v1/dags/{dag_id}', { params: { path: { dag_id: dagId } }, signal })),
  });

export const layoutQuery = (dagId: string, version?: string) =>
  queryOptions({
    queryKey: version ? ['layout', dagId, version] : keys.dag(dagId, 'layout'),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/layout', {
          params: { path: { dag_id: dagId }, query: { version } },
          signal,
        }),
      ),
    staleTime: version ? Infinity : 0,
  });

export const sourceQuery = (dagId: string, version?: string) =>
  queryOptions({
    queryKey: version ? ['source', dagId, version] : keys.dag(dagId, 'source'),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/source', {
          params: { path: { dag_id: dagId }, query: { version } },
          signal,
        }),
      ),
    staleTime: version ? Infinity : 0,
    placeholderData: keepPreviousData,
  });

export const gridQuery = (dagId: string, runs: number) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'grid', runs),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/grid', {
          params: { path: { dag_id: dagId }, query: { runs } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

/** Pauses or unpauses at once on the page; a refusal takes it back. */
export function usePauseDag() {
  const queries = useQueryClient();
  const patch = (dagId: string, paused: boolean) => {
    queries.setQueriesData<InfiniteData<DagPage>>({ queryKey: ['dag-list'] }, (list) =>
      list
        ? {
            ...list,
            pages: list.pages.map((page) =>
              page.items.some((dag) => dag.dag_id === dagId)
                ? { ...page, items: page.items.map((dag) => withPause(dag, dagId, paused)) }
                : page,
            ),
          }
        : list,
    );
    queries.setQueryData<DagDetails>(keys.dag(dagId, 'details'), (dag) => (dag ? { ...dag, paused } : dag));
  };
  return useMutation({
    mutationFn: ({ dagId, paused }: { dagId: string; paused: boolean }) =>
      unwrap(
        client.PATCH('/api/v1/dags/{dag_id}', { params: { path: { dag_id: dagId } }, body: { paused } }),
      ),
    onMutate: ({ dagId, paused }) => patch(dagId, paused),
    onError: (_error, { dagId, paused }) => patch(dagId, !paused),
    onSuccess: (_result, { dagId }) => queries.invalidateQueries({ queryKey: ['dag', dagId, 'details'] }),
    meta: { action: 'Pause' },
  });
}

function withPause(dag: DagSummary, dagId: string, paused: boolean): DagSummary {
  return dag.dag_id === dagId ? { ...dag, paused } : dag;
}
