import { useParams } from '@tanstack/react-router';
import { History } from 'lucide-react';
import { useCallback } from 'react';
import type { Column } from '../../components/DataTable';
import { detailsColumn, detailsText, EventList } from '../../components/EventList';
import { Empty, ExactTime, FilterField } from '../../components/ui';
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
  detailsColumn(detailsText),
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
  const q = search.q?.toLowerCase() ?? '';
  const matches = useCallback(
    (event: EventEntry) => !q || `${event.kind} ${event.task_id} ${event.text}`.toLowerCase().includes(q),
    [q],
  );
  return (
    <EventList
      label="Events of the run"
      query={runEventsQuery(dagId, runId)}
      columns={COLUMNS}
      rowKey={(event) => event.position}
      matches={matches}
      empty={<Empty title="No events" icon={<History size={28} strokeWidth={1.5} />} />}
      toolbar={(total) => (
        <div className="toolbar">
          <FilterField
            label="Filter events"
            width={240}
            value={search.q ?? ''}
            onChange={(value) => patch({ q: value || undefined })}
          />
          <span className="right muted">{total.toLocaleString()} events</span>
        </div>
      )}
    />
  );
}
