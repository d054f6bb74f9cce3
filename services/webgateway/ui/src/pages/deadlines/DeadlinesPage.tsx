import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { AlarmClock } from 'lucide-react';
import { DataTable } from '../../components/DataTable';
import { Empty, ExactTime, Loading, Problem, RelativeTime } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { formatDuration } from '../../lib/time';
import { deadlinesQuery } from '../../queries/assets';
import type { DeadlineEntry } from '../../queries/client';

const STATES = ['at_risk', 'missed', 'pending', 'met', 'dropped'] as const;
const WORDS: Record<DeadlineEntry['state'], string> = {
  at_risk: 'At risk',
  missed: 'Missed',
  pending: 'Pending',
  met: 'Met',
  dropped: 'Dropped',
};
const COLOURS: Partial<Record<DeadlineEntry['state'], string>> = {
  at_risk: 'var(--warn)',
  missed: 'var(--danger)',
  met: 'var(--ok)',
};

/** Deadlines of runs and tasks: those at risk and those missed first. */
export function DeadlinesPage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const navigate = useNavigate();
  const deadlines = useQuery(deadlinesQuery({ state: search.state }));
  return (
    <>
      <div className="page-head">
        <h1>Deadlines</h1>
        <select
          className="field"
          aria-label="State"
          value={search.state ?? ''}
          onChange={(event) => patch({ state: event.target.value || undefined })}
        >
          <option value="">All states</option>
          {STATES.map((state) => (
            <option key={state} value={state}>
              {WORDS[state]}
            </option>
          ))}
        </select>
      </div>
      <div className="page-table">
        {deadlines.isPending ? (
          <Loading label="Loading deadlines" />
        ) : deadlines.isError && !deadlines.data ? (
          <div style={{ padding: 16 }}>
            <Problem error={deadlines.error} retry={() => void deadlines.refetch()} />
          </div>
        ) : (
          <DataTable
            label="Deadlines"
            rows={deadlines.data.items}
            rowKey={(entry) => `${entry.dag_id}/${entry.run_id}/${entry.name}`}
            onOpen={(entry) =>
              void navigate({
                to: '/dags/$dagId/runs/$runId',
                params: { dagId: entry.dag_id, runId: entry.run_id },
                search: { task: entry.task_id ?? undefined },
              })
            }
            sort={search.sort}
            onSort={(sort) => patch({ sort })}
            empty={
              search.state ? (
                <Empty title="No deadline is in this state" icon={<AlarmClock size={28} strokeWidth={1.5} />}>
                  <button type="button" className="btn" onClick={() => patch({ state: undefined })}>
                    Show all states
                  </button>
                </Empty>
              ) : (
                <Empty title="No deadlines" icon={<AlarmClock size={28} strokeWidth={1.5} />}>
                  <p>
                    Give a DAG or task <code>deadline=DeadlineAlert(…)</code>.
                  </p>
                </Empty>
              )
            }
            columns={[
              {
                id: 'state',
                header: 'State',
                width: '90px',
                cell: (entry) => (
                  <strong style={{ color: COLOURS[entry.state] }}>{WORDS[entry.state]}</strong>
                ),
              },
              {
                id: 'dag',
                header: 'DAG',
                width: 'minmax(140px, 1fr)',
                sort: (entry) => entry.dag_id,
                cell: (entry) => <span className="mono truncate">{entry.dag_id}</span>,
              },
              {
                id: 'run',
                header: 'Run',
                extra: true,
                width: 'minmax(160px, 1.4fr)',
                cell: (entry) => (
                  <span className="mono truncate" title={entry.run_id}>
                    {entry.run_id}
                  </span>
                ),
              },
              {
                id: 'name',
                header: 'Deadline',
                width: 'minmax(120px, 1fr)',
                cell: (entry) => (
                  <span className="truncate" title={entry.name}>
                    {entry.name}
                    {entry.task_id && <span className="muted"> of {entry.task_id}</span>}
                  </span>
                ),
              },
              {
                id: 'time',
                header: 'Due',
                width: '180px',
                sort: (entry) => entry.deadline_time,
                cell: (entry) => <ExactTime value={entry.deadline_time} />,
              },
              {
                id: 'in',
                header: '',
                name: 'How far away',
                width: '110px',
                cell: (entry) => <RelativeTime value={entry.deadline_time} every={10} />,
              },
              {
                id: 'expected',
                header: 'Expected end',
                extra: true,
                width: 'minmax(180px, 1fr)',
                cell: (entry) =>
                  entry.expected_end_time ? (
                    <span className="truncate">
                      <ExactTime value={entry.expected_end_time} />{' '}
                      <span className="muted">
                        (median {formatDuration(entry.median_seconds)} of {entry.run_count})
                      </span>
                    </span>
                  ) : (
                    <span className="faint">—</span>
                  ),
              },
            ]}
          />
        )}
      </div>
    </>
  );
}
