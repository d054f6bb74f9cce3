/** Failures of one cause, in all DAGs. */
import { infiniteQueryOptions, keepPreviousData } from '@tanstack/react-query';
import { client, unwrap, type Schemas } from './client';
import { keys } from './keys';

export type Failure = Schemas['Failure'];

export const failuresQuery = (fingerprint: string, dagId?: string) =>
  infiniteQueryOptions({
    queryKey: keys.runList({ failures: fingerprint, dagId }),
    queryFn: ({ pageParam, signal }) =>
      unwrap(
        client.GET('/api/v1/failures', {
          params: { query: { fingerprint, dag_id: dagId, limit: 100, cursor: pageParam } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });
