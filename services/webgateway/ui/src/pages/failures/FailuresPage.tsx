/** Who else failed for the same reason: failed tries of one cause, in all DAGs or in one, newest first. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useCallback, useMemo } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { Empty, Loading, Problem, RelativeTime } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { failuresQuery, type Failure } from '../../queries/failures';

function paramsOf(failure: Failure) {
  return {
    dagId: failure.dag_id,
    runId: failure.run_id,
    taskId: failure.task_id,
    mapIndex: String(failure.map_index),
  };
}

const COLUMNS: Column<Failure>[] = [
  {
    id: 'dag',
    header: 'DAG',
    width: 'minmax(140px, 1fr)',
    cell: (failure) => (
      <Link className="truncate" to="/dags/$dagId" params={{ dagId: failure.dag_id }}>
        {failure.dag_id}
      </Link>
    ),
  },
  {
    id: 'task',
    header: 'Task',
    width: 'minmax(140px, 1fr)',
    cell: (failure) => (
      <Link
        className="mono truncate"
        to="/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex"
        params={paramsOf(failure)}
        search={{ try: failure.try_number }}
      >
        {failure.task_id}
        {failure.map_index >= 0 && ` [${failure.map_index}]`}
      </Link>
    ),
  },
  {
    id: 'run',
    header: 'Run',
    width: 'minmax(220px, 1.4fr)',
    extra: true,
    cell: (failure) => (
      <span className="mono truncate muted" title={failure.run_id}>
        {failure.run_id}
      </span>
    ),
  },
  { id: 'try', header: 'Try', width: '48px', extra: true, cell: (failure) => failure.try_number },
  {
    id: 'title',
    header: 'What',
    width: 'minmax(180px, 1.6fr)',
    extra: true,
    cell: (failure) => (
      <span className="truncate" title={failure.title}>
        {failure.title}
      </span>
    ),
  },
  { id: 'when', header: 'When', width: '96px', cell: (failure) => <RelativeTime value={failure.time} /> },
];

export function FailuresPage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const navigate = useNavigate();
  const fingerprint = search.fingerprint ?? '';
  const list = useInfiniteQuery({ ...failuresQuery(fingerprint, search.dag), enabled: fingerprint !== '' });
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const { hasNextPage, isFetching, fetchNextPage } = list;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  const total = list.data?.pages[0]?.total;
  const first = rows[0];
  if (fingerprint === '')
    return (
      <Empty title="Failures of which cause?">
        <p>Open a failed task; its diagnosis links to the failures that are like it.</p>
      </Empty>
    );
  return (
    <>
      <div className="page-head">
        <h1>Similar failures</h1>
        {first && <span className="chip danger mono">{first.category}</span>}
        {first?.owner && <span className="chip">{first.owner}</span>}
        {search.dag && (
          <button type="button" className="btn small" onClick={() => patch({ dag: undefined })}>
            Only {search.dag}: show all DAGs
          </button>
        )}
        <span className="right muted" role="status">
          {total !== undefined && `${total.toLocaleString()} ${total === 1 ? 'failed try' : 'failed tries'}`}
        </span>
      </div>
      <div className="page-table">
        {list.isPending ? (
          <Loading rows={12} label="Loading failures" />
        ) : list.isError && rows.length === 0 ? (
          <div style={{ padding: 16 }}>
            <Problem error={list.error} retry={() => void list.refetch()} />
          </div>
        ) : (
          <DataTable
            label="Similar failures"
            keysLabel="Failures"
            columns={COLUMNS}
            rows={rows}
            rowKey={(failure) =>
              `${failure.dag_id}/${failure.run_id}/${failure.task_id}/${failure.map_index}/${failure.try_number}`
            }
            onEnd={onEnd}
            onOpen={(failure) =>
              void navigate({
                to: '/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex',
                params: paramsOf(failure),
                search: { try: failure.try_number },
              })
            }
            empty={
              <Empty title="No failure has this cause">
                <p>Diagnoses are kept for as long as the log keeps them.</p>
              </Empty>
            }
          />
        )}
      </div>
    </>
  );
}
