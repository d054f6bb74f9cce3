/** All task instances of a run in one virtual table, sorted and filtered on the page. */
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { StateLabel } from '../../components/StateIcon';
import { Duration, Empty, ExactTime, FilterField, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { stateLabel, stateRank, TASK_STATES } from '../../lib/states';
import type { Run, TaskInstance } from '../../queries/client';
import { runTasksQuery } from '../../queries/runs';

interface Props {
  run: Run;
  compact?: boolean;
  onOpen: (task: TaskInstance) => void;
}

export const taskName = (task: TaskInstance): string =>
  task.map_index >= 0 ? `${task.task_id} [${task.map_index}]` : task.task_id;

const DURATION: Column<TaskInstance> = {
  id: 'duration',
  header: 'Duration',
  width: '84px',
  align: 'right',
  sort: (task) => task.duration_seconds ?? -1,
  cell: (task) => (
    <Duration
      start={task.start_time}
      end={task.end_time}
      seconds={task.duration_seconds}
      running={task.state === 'running'}
    />
  ),
};

const NAME: Column<TaskInstance> = {
  id: 'task',
  header: 'Task',
  width: 'minmax(120px, 2fr)',
  sort: taskName,
  cell: (task) => (
    <span className="mono truncate" title={taskName(task)}>
      {taskName(task)}
    </span>
  ),
};

const STATE: Column<TaskInstance> = {
  id: 'state',
  header: 'State',
  width: 'minmax(128px, 150px)',
  sort: (task) => stateRank(task.state),
  cell: (task) => <StateLabel state={task.state} marked={task.marked} />,
};

const TRIES: Column<TaskInstance> = {
  id: 'tries',
  header: 'Tries',
  width: '44px',
  extra: true,
  align: 'right',
  sort: (task) => task.try_number,
  cell: (task) => task.try_number,
};

const COMPACT: Column<TaskInstance>[] = [NAME, STATE, DURATION, TRIES];

const FULL: Column<TaskInstance>[] = [
  NAME,
  STATE,
  {
    id: 'start',
    header: 'Start',
    width: '150px',
    extra: true,
    sort: (task) => task.start_time ?? '',
    cell: (task) => <ExactTime value={task.start_time} />,
  },
  {
    id: 'end',
    header: 'End',
    width: '150px',
    extra: true,
    sort: (task) => task.end_time ?? '',
    cell: (task) => <ExactTime value={task.end_time} />,
  },
  DURATION,
  TRIES,
  {
    id: 'operator',
    header: 'Operator',
    width: 'minmax(110px, 0.8fr)',
    extra: true,
    sort: (task) => task.operator,
    cell: (task) => <span className="truncate muted">{task.operator}</span>,
  },
  {
    id: 'reason',
    header: 'Reason',
    width: 'minmax(120px, 1fr)',
    extra: true,
    cell: (task) => (
      <span className="truncate muted" title={task.reason}>
        {task.category && <span className="chip danger mono">{task.category}</span>} {task.reason}
      </span>
    ),
  },
];

export function TaskTable({ run, compact, onOpen }: Props) {
  const search = useSearch();
  const patch = usePatchSearch();
  const tasks = useQuery(runTasksQuery(run.dag_id, run.run_id));
  const rows = useMemo(() => {
    const q = search.q?.toLowerCase() ?? '';
    return (tasks.data ?? []).filter(
      (task) =>
        (!search.state || task.state === search.state) && (!q || taskName(task).toLowerCase().includes(q)),
    );
  }, [tasks.data, search.q, search.state]);
  const selected = search.task ? `${search.task}/${search.map ?? -1}` : undefined;
  if (tasks.isPending) return <Loading rows={12} label="Loading tasks" />;
  if (tasks.isError && !tasks.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={tasks.error} retry={() => void tasks.refetch()} />
      </div>
    );
  return (
    <>
      {!compact && (
        <div className="toolbar">
          <FilterField
            label="Filter tasks"
            width={240}
            value={search.q ?? ''}
            onChange={(value) => patch({ q: value || undefined })}
          />
          <select
            className={search.state ? 'field on' : 'field'}
            aria-label="State"
            value={search.state ?? ''}
            onChange={(event) => patch({ state: event.target.value || undefined })}
          >
            <option value="">Any state</option>
            {TASK_STATES.filter((state) => state === search.state || (run.task_counts[state] ?? 0) > 0).map(
              (state) => (
                <option key={state} value={state}>
                  {stateLabel(state)}
                </option>
              ),
            )}
          </select>
          <span className="right muted" role="status">
            {rows.length.toLocaleString()} of {(tasks.data?.length ?? 0).toLocaleString()} tasks
          </span>
        </div>
      )}
      <DataTable
        label="Tasks of the run"
        keysLabel="Tasks"
        columns={compact || search.task ? COMPACT : FULL}
        rows={rows}
        rowKey={(task) => `${task.task_id}/${task.map_index}`}
        rowHeight={32}
        sort={search.sort}
        onSort={(sort) => patch({ sort })}
        onOpen={onOpen}
        selected={selected}
        empty={
          <Empty title={search.q || search.state ? 'No task matches' : 'No tasks yet'}>
            <p>{search.q || search.state ? 'Change the filter.' : 'The run has not been planned yet.'}</p>
          </Empty>
        }
      />
    </>
  );
}
