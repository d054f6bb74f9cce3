import { History } from 'lucide-react';
import type { Column } from '../../components/DataTable';
import { detailsColumn, EventList } from '../../components/EventList';
import { Empty, ExactTime } from '../../components/ui';
import { elapsedSeconds, formatDuration } from '../../lib/time';
import { parseErrorHistoryQuery } from '../../queries/admin';
import type { EndedParseError } from '../../queries/client';

const COLUMNS: Column<EndedParseError>[] = [
  { id: 'end', header: 'Over since', width: '150px', cell: (error) => <ExactTime value={error.end_time} /> },
  {
    id: 'file',
    header: 'File',
    width: 'minmax(140px, 1.4fr)',
    cell: (error) => (
      <span className="mono truncate" title={`${error.bundle}/${error.relative_path}`}>
        {error.relative_path === '.' ? error.bundle : error.relative_path}
        {error.line > 0 && <span className="faint">:{error.line}</span>}
      </span>
    ),
  },
  {
    id: 'type',
    header: 'Error',
    width: 'minmax(110px, 0.8fr)',
    extra: true,
    cell: (error) => <span className="mono truncate">{error.error_type}</span>,
  },
  {
    id: 'message',
    header: 'Message',
    width: 'minmax(200px, 2fr)',
    extra: true,
    cell: (error) => (
      <span className="truncate" title={error.message}>
        {error.message}
      </span>
    ),
  },
  {
    id: 'detected',
    header: 'Detected',
    width: '150px',
    extra: true,
    cell: (error) => <ExactTime value={error.detected_time} />,
  },
  {
    id: 'lasted',
    header: 'Lasted',
    width: '72px',
    align: 'right',
    extra: true,
    cell: (error) => formatDuration(elapsedSeconds(error.detected_time, error.end_time, 0)),
  },
  detailsColumn((error) => error.stack_trace || error.message),
];

/** Errors that are over: mended, or replaced by another of the same file. */
export function ErrorHistory({ query }: { query: string }) {
  return (
    <EventList
      label="Parse errors that are over"
      query={parseErrorHistoryQuery(query)}
      columns={COLUMNS}
      rowKey={(error) => `${error.bundle}/${error.relative_path} ${error.last_updated_time}`}
      empty={
        <Empty
          title={query ? 'No error matches' : 'No error is over yet'}
          icon={<History size={28} strokeWidth={1.5} />}
        >
          <p>What was broken and is mended stays here for 90 days.</p>
        </Empty>
      }
    />
  );
}
