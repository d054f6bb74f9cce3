/** Assets, their events, updates by hand; deadlines. */
import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  useMutation,
  useQueryClient,
} from '@tanstack/react-query';
import { client, unwrap } from './client';
import { keys } from './keys';
import { useOnce } from './once';

export const assetsQuery = (query: string) =>
  queryOptions({
    queryKey: keys.assetList(query),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/assets', {
          params: { query: { query: query || undefined, limit: 500 } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const assetEventsQuery = (name: string) =>
  infiniteQueryOptions({
    queryKey: keys.assetEvents(name),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/assets/{name}/events', {
          params: { path: { name }, query: { limit: 50, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

/** The end of the log of a watcher, or without one of the latest stale callback. */
export const assetLogQuery = (name: string, watcher: string) =>
  queryOptions({
    queryKey: keys.assetLog(name, watcher),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/assets/{name}/log', {
          params: { path: { name }, query: { watcher: watcher || undefined, tail: 200 } },
          signal,
        }),
      ),
  });

export const assetPartitionsQuery = (name: string) =>
  infiniteQueryOptions({
    queryKey: keys.assetPartitions(name),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/assets/{name}/partitions', {
          params: { path: { name }, query: { limit: 50, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });

export function useUpdateAsset(name: string) {
  const queries = useQueryClient();
  const once = useOnce();
  return useMutation({
    mutationFn: (body: { extra: Record<string, unknown>; partition_key: string }) =>
      once.send([name, body], (request_id) =>
        unwrap(
          client.POST('/api/v1/assets/{name}/events', {
            params: { path: { name } },
            body: { ...body, request_id },
          }),
        ),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['asset-list'] }),
    meta: { handled: true, action: 'Updating the asset' },
  });
}

export const deadlinesQuery = (filters: { dag_id?: string; run_id?: string; state?: string }) =>
  queryOptions({
    queryKey: keys.deadlines(filters),
    queryFn: ({ signal }) =>
      unwrap(client.GET('/api/v1/deadlines', { params: { query: { ...filters, limit: 500 } }, signal })),
    placeholderData: keepPreviousData,
  });
