/** Runs, newest first, loaded as the table is scrolled. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { X } from 'lucide-react';
import { useCallback, useMemo } from 'react';
import { usePatchSearch, useSearch } from '../lib/search';
import { countsText, RUN_STATES, stateLabel } from '../lib/states';
import { formatLocal } from '../lib/time';
import type { RunSummary } from '../queries/client';
import { runListQuery } from '../queries/runs';
import { DataTable, type Column } from './DataTable';
import { StateLabel } from './StateIcon';
import { Duration, Empty, ExactTime, Loading, Problem, RelativeTime } from './ui';

const DAG: Column<RunSummary> = {
  id: 'dag',
  header: 'DAG',
  width: 'minmax(120px, 1.2fr)',
  cell: (run) => (
    <Link className="truncate" to="/dags/$dagId" params={{ dagId: run.dag_id }}>
      {run.dag_id}
    </Link>
  ),
};

const COLUMNS: Column<RunSummary>[] = [
  { id: 'state', header: 'State', width: '96px', cell: (run) => <StateLabel state={run.state} /> },
  {
    id: 'run',
    header: 'Run',
    width: 'minmax(190px, 1.6fr)',
    extra: true,
    cell: (run) => (
      <Link
        className="mono truncate"
        to="/dags/$dagId/runs/$runId"
        params={{ dagId: run.dag_id, runId: run.run_id }}
        title={run.run_id}
      >
        {run.run_id}
      </Link>
    ),
  },
  {
    id: 'type',
    header: 'Type',
    width: '80px',
    extra: true,
    cell: (run) => <span className="muted">{run.run_type}</span>,
  },
  {
    id: 'logical',
    header: 'Logical date',
    width: '150px',
    extra: true,
    cell: (run) => <ExactTime value={run.logical_date} />,
  },
  {
    id: 'started',
    header: 'Started',
    width: '100px',
    cell: (run) => <RelativeTime value={run.start_time ?? run.queued_time} />,
  },
  {
    id: 'duration',
    header: 'Duration',
    width: '84px',
    align: 'right',
    cell: (run) => (
      <Duration
        start={run.start_time}
        end={run.end_time}
        seconds={run.duration_seconds}
        running={run.state === 'running'}
      />
    ),
  },
  {
    id: 'reason',
    header: 'Tasks',
    width: 'minmax(110px, 1.2fr)',
    extra: true,
    cell: (run) => (
      <span className="truncate muted" title={run.reason || countsText(run.task_counts)}>
        {run.reason || countsText(run.task_counts) || run.note}
      </span>
    ),
  },
];

export function RunTable({ dagId }: { dagId?: string }) {
  const search = useSearch();
  const patch = usePatchSearch();
  const navigate = useNavigate();
  const list = useInfiniteQuery(
    runListQuery({
      dag_id: dagId,
      state: search.state,
      due_from: search.due_from,
      due_to: search.due_to,
    }),
  );
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const columns = useMemo(
    () => (dagId ? COLUMNS : [...COLUMNS.slice(0, 1), DAG, ...COLUMNS.slice(1)]),
    [dagId],
  );
  const { hasNextPage, isFetching, fetchNextPage } = list;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  const narrowed = search.state || search.due_from || search.due_to;
  const total = list.data?.pages[0]?.total;
  return (
    <div className="col grow">
      <div className="toolbar">
        <select
          className={search.state ? 'field on' : 'field'}
          aria-label="State"
          value={search.state ?? ''}
          onChange={(event) => patch({ state: event.target.value || undefined })}
        >
          <option value="">Any state</option>
          {RUN_STATES.map((state) => (
            <option key={state} value={state}>
              {stateLabel(state)}
            </option>
          ))}
        </select>
        {(search.due_from || search.due_to) && (
          <button
            type="button"
            className="btn small"
            title="Show all runs again"
            onClick={() => patch({ due_from: undefined, due_to: undefined })}
          >
            Due {search.due_from ? `from ${formatLocal(search.due_from)}` : ''}
            {search.due_to ? ` until ${formatLocal(search.due_to)}` : ''} <X size={12} />
          </button>
        )}
        <span className="right muted" role="status">
          {total !== undefined && `${total.toLocaleString()} ${total === 1 ? 'run' : 'runs'}`}
        </span>
      </div>
      {list.isPending ? (
        <Loading rows={14} label="Loading runs" />
      ) : list.isError && rows.length === 0 ? (
        <div style={{ padding: 16 }}>
          <Problem error={list.error} retry={() => void list.refetch()} />
        </div>
      ) : (
        <DataTable
          label="Runs"
          keysLabel="Runs"
          columns={columns}
          rows={rows}
          rowKey={(run) => `${run.dag_id}/${run.run_id}`}
          onEnd={onEnd}
          onOpen={(run) =>
            void navigate({
              to: '/dags/$dagId/runs/$runId',
              params: { dagId: run.dag_id, runId: run.run_id },
            })
          }
          empty={
            <Empty title={narrowed ? 'No run is in this state and period' : 'No runs yet'}>
              <p>
                {narrowed
                  ? 'Choose another state, or show all runs.'
                  : 'Trigger a DAG, or wait for its schedule.'}
              </p>
            </Empty>
          }
        />
      )}
    </div>
  );
}
