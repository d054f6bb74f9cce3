/** What would happen: asked of a scheduler, which runs its core on virtual time. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { client, unwrap, type Schemas } from './client';
import { keys } from './keys';

export type SimulatedRun = Schemas['SimulatedRun'];

export interface Wish {
  days: number;
  /** Seconds that each task takes; unset: as lately. */
  duration?: number;
  /** Dates of a backfill instead of the schedule. */
  from?: string;
  to?: string;
  maxActiveRuns: number;
}

export const simulationQuery = (dagId: string, wish: Wish) =>
  queryOptions({
    queryKey: keys.simulation(dagId, wish),
    queryFn: ({ signal }) =>
      unwrap(
        client.POST('/api/v1/dags/{dag_id}/simulate', {
          params: { path: { dag_id: dagId } },
          body: {
            days: wish.from && wish.to ? null : wish.days,
            duration_seconds: wish.duration ?? null,
            backfill:
              wish.from && wish.to
                ? {
                    from_date: wish.from,
                    to_date: wish.to,
                    max_active_runs: wish.maxActiveRuns,
                    run_order: 'forward',
                  }
                : null,
            pools: {},
            map_length: 3,
            max_runs: 1000,
          },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
    retry: false,
    refetchOnWindowFocus: false,
  });
