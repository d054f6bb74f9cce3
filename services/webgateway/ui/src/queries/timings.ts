/** How a DAG's runs and tasks went over time. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { client, unwrap, type Schemas } from './client';
import { keys } from './keys';

export type Calendar = Schemas['Calendar'];
export type RunDuration = Schemas['RunDuration'];
export type RunDurations = Schemas['RunDurations'];
export type TaskDuration = Schemas['TaskDuration'];
export type Statistics = Schemas['Statistics'];

export interface RunChoice {
  runs: number;
  run_type?: string;
  state?: string;
}

/** Of one year, in the time zone of the DAG's schedule. */
export const calendarQuery = (dagId: string, year: number) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'calendar', year),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/calendar', {
          params: {
            path: { dag_id: dagId },
            query: { from_date: `${year}-01-01`, to_date: `${year}-12-31` },
          },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const durationsQuery = (dagId: string, choice: RunChoice) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'durations', choice),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/durations', {
          params: { path: { dag_id: dagId }, query: { ...choice } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });

/** The slowest tasks; those named come with a point for each run. */
export const taskDurationsQuery = (dagId: string, choice: RunChoice, tasks: string[] = []) =>
  queryOptions({
    queryKey: keys.dag(dagId, 'task-durations', choice, tasks),
    queryFn: ({ signal }) =>
      unwrap(
        client.GET('/api/v1/dags/{dag_id}/task-durations', {
          params: { path: { dag_id: dagId }, query: { ...choice, task_id: tasks } },
          signal,
        }),
      ),
    placeholderData: keepPreviousData,
  });
