import { useInfiniteQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { History } from 'lucide-react';
import { useCallback, useMemo } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { Empty, ExactTime, Loading, Pop, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import type { EventEntry } from '../../queries/client';
import { runEventsQuery } from '../../queries/runs';

const COLUMNS: Column<EventEntry>[] = [
  { id: 'time', header: 'Time', width: '184px', cell: (event) => <ExactTime value={event.time} millis /> },
  {
    id: 'kind',
    header: 'Event',
    width: '190px',
    cell: (event) => <span className="mono">{event.kind}</span>,
  },
  {
    id: 'task',
    header: 'Task',
    width: 'minmax(140px, 1fr)',
    cell: (event) => (
      <span className="mono truncate">
        {event.task_id || '—'}
        {event.map_index >= 0 && ` [${event.map_index}]`}
      </span>
    ),
  },
  {
    id: 'text',
    header: 'What happened',
    width: 'minmax(220px, 2fr)',
    cell: (event) => <span className="truncate">{event.text}</span>,
  },
  {
    id: 'details',
    header: 'Details',
    width: '72px',
    cell: (event) =>
      Object.keys(event.details).length > 0 && (
        <Pop
          align="end"
          trigger={
            <button type="button" className="btn ghost small">
              Show
            </button>
          }
        >
          <pre className="codeblock wrap" style={{ maxHeight: 320, margin: 4 }}>
            {JSON.stringify(event.details, null, 2)}
          </pre>
        </Pop>
      ),
  },
  {
    id: 'position',
    header: 'Position',
    width: '110px',
    cell: (event) => <span className="mono faint">{event.position}</span>,
  },
];

/** The run as the log of events has it. */
export function RunEventsView() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const events = useInfiniteQuery(runEventsQuery(dagId, runId));
  const rows = useMemo(() => {
    const q = search.q?.toLowerCase() ?? '';
    return (events.data?.pages.flatMap((page) => page.items) ?? []).filter(
      (event) => !q || `${event.kind} ${event.task_id} ${event.text}`.toLowerCase().includes(q),
    );
  }, [events.data, search.q]);
  const { hasNextPage, isFetching, fetchNextPage } = events;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (events.isPending) return <Loading rows={12} label="Loading events" />;
  if (events.isError && rows.length === 0)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={events.error} retry={() => void events.refetch()} />
      </div>
    );
  return (
    <>
      <div className="toolbar">
        <input
          className="field"
          style={{ width: 240 }}
          type="search"
          placeholder="Filter events"
          aria-label="Filter events"
          value={search.q ?? ''}
          onChange={(event) => patch({ q: event.target.value || undefined })}
        />
        <span className="right muted">{events.data?.pages[0]?.total.toLocaleString()} events</span>
      </div>
      <DataTable
        label="Events of the run"
        columns={COLUMNS}
        rows={rows}
        rowKey={(event) => event.position}
        rowHeight={30}
        onEnd={onEnd}
        empty={<Empty title="No events" icon={<History size={28} strokeWidth={1.5} />} />}
      />
    </>
  );
}
