/** The pane beside a grid, graph or table: one task instance, or the list of a mapped task's instances. */
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ArrowLeft, Maximize2, X } from 'lucide-react';
import { DataTable } from '../../components/DataTable';
import { StateLabel } from '../../components/StateIcon';
import { Duration, Empty, IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { useShortcuts } from '../../lib/shortcuts';
import { stateRank } from '../../lib/states';
import type { TaskInstance } from '../../queries/client';
import { runTasksQuery } from '../../queries/runs';
import { TaskPanel } from './TaskPanel';

interface Props {
  dagId: string;
  runId: string;
  taskId: string;
}

export function TaskPane({ dagId, runId, taskId }: Props) {
  const search = useSearch();
  const patch = usePatchSearch();
  const instances = useQuery({ ...runTasksQuery(dagId, runId, taskId), enabled: search.map === undefined });
  const only = instances.data?.length === 1 ? instances.data[0] : undefined;
  const mapIndex = search.map ?? only?.map_index;
  const close = () =>
    patch({
      task: undefined,
      map: undefined,
      try: undefined,
      tab: undefined,
      line: undefined,
      find: undefined,
    });
  useShortcuts([
    { keys: 'Escape', label: 'Close the pane', group: 'Task', run: close },
    ...(search.map !== undefined && search.map >= 0
      ? [
          {
            keys: 'u',
            label: 'Up to all mapped instances',
            group: 'Task',
            run: () => patch({ map: undefined, try: undefined }),
          },
        ]
      : []),
  ]);
  return (
    <aside className="pane" aria-label={`Task ${taskId}`}>
      <div className="pane-head">
        {search.map !== undefined && search.map >= 0 && (
          <IconButton
            label="All mapped instances (u)"
            onClick={() => patch({ map: undefined, try: undefined, line: undefined })}
          >
            <ArrowLeft size={15} />
          </IconButton>
        )}
        <h2 className="truncate mono" title={taskId}>
          {taskId}
          {mapIndex !== undefined && mapIndex >= 0 && ` [${mapIndex}]`}
        </h2>
        <Link
          className="faint small mono truncate"
          style={{ flexShrink: 1000 }}
          to="/dags/$dagId/runs/$runId"
          params={{ dagId, runId }}
          title={`Open run ${runId}`}
        >
          {runId}
        </Link>
        <span className="right" />
        {mapIndex !== undefined && (
          <Link
            className="btn ghost icon"
            aria-label="Open as a page"
            title="Open as a page"
            to="/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex"
            params={{ dagId, runId, taskId, mapIndex: String(mapIndex) }}
            search={{ try: search.try, tab: search.tab }}
          >
            <Maximize2 size={14} />
          </Link>
        )}
        <IconButton label="Close (Esc)" onClick={close}>
          <X size={15} />
        </IconButton>
      </div>
      {mapIndex !== undefined ? (
        <TaskPanel taskKey={{ dagId, runId, taskId, mapIndex }} />
      ) : instances.isPending ? (
        <Loading />
      ) : instances.isError ? (
        <div style={{ padding: 16 }}>
          <Problem error={instances.error} retry={() => void instances.refetch()} />
        </div>
      ) : (
        <MappedList instances={instances.data} />
      )}
    </aside>
  );
}

function MappedList({ instances }: { instances: TaskInstance[] }) {
  const search = useSearch();
  const patch = usePatchSearch();
  return (
    <DataTable
      label="Mapped instances"
      keysLabel="Mapped instances"
      rows={instances}
      rowKey={(instance) => String(instance.map_index)}
      rowHeight={32}
      sort={search.sort}
      onSort={(sort) => patch({ sort })}
      onOpen={(instance) => patch({ map: instance.map_index }, true)}
      empty={
        <Empty title="No instances in this run">
          <p>The task is not part of this run, or its input has not been computed yet.</p>
        </Empty>
      }
      columns={[
        {
          id: 'map',
          header: 'Index',
          width: '64px',
          sort: (row) => row.map_index,
          cell: (row) => <span className="mono">[{row.map_index}]</span>,
        },
        {
          id: 'state',
          header: 'State',
          width: 'minmax(120px, 1fr)',
          sort: (row) => stateRank(row.state),
          cell: (row) => <StateLabel state={row.state} marked={row.marked} />,
        },
        {
          id: 'tries',
          header: 'Tries',
          width: '48px',
          align: 'right',
          sort: (row) => row.try_number,
          cell: (row) => row.try_number,
        },
        {
          id: 'duration',
          header: 'Duration',
          width: '88px',
          align: 'right',
          sort: (row) => row.duration_seconds ?? -1,
          cell: (row) => (
            <Duration
              start={row.start_time}
              end={row.end_time}
              seconds={row.duration_seconds}
              running={row.state === 'running'}
            />
          ),
        },
      ]}
    />
  );
}
