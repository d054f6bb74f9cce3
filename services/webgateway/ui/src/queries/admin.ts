/** Parse errors, audit, search, who and where; pools, variables, connections. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { client, unwrap } from './client';
import { keys } from './keys';

export const viewerQuery = queryOptions({
  queryKey: keys.viewer,
  queryFn: ({ signal }) => unwrap(client.GET('/api/v1/viewer', { signal })),
  staleTime: Infinity,
});

export const systemQuery = queryOptions({
  queryKey: keys.system,
  queryFn: ({ signal }) => unwrap(client.GET('/api/v1/system', { signal })),
  refetchInterval: 30_000,
});

export const parseErrorsQuery = (query: string) =>
  queryOptions({
    queryKey: keys.parseErrors(query),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/parse-errors', {
          params: { query: { query: query || undefined, limit: 500 } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

/** Errors that are over: the latest first. */
export const parseErrorHistoryQuery = (query: string) =>
  infiniteQueryOptions({
    queryKey: keys.parseErrorHistory(query),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/parse-errors/history', {
          params: { query: { query: query || undefined, limit: 100, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });

export const auditQuery = (filters: { subject?: string; actor?: string }) =>
  infiniteQueryOptions({
    queryKey: keys.audit(filters),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/audit', {
          params: { query: { ...filters, limit: 100, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });

export const searchQuery = (q: string) =>
  queryOptions({
    queryKey: keys.search(q),
    queryFn: ({ signal }) => unwrap(client.GET('/api/v1/search', { params: { query: { q } }, signal })),
    enabled: q.length > 0,
    placeholderData: keepPreviousData,
    staleTime: 5_000,
  });

export const poolsQuery = queryOptions({
  queryKey: keys.pools,
  queryFn: ({ signal }) => unwrap(client.GET('/api/v1/pools', { signal })),
});
export const variablesQuery = queryOptions({
  queryKey: keys.variables,
  queryFn: ({ signal }) => unwrap(client.GET('/api/v1/variables', { signal })),
});
export const connectionsQuery = queryOptions({
  queryKey: keys.connections,
  queryFn: ({ signal }) => unwrap(client.GET('/api/v1/connections', { signal })),
});
