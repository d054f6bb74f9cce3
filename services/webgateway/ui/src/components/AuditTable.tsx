import { ScrollText, SearchX } from 'lucide-react';
import { actorName } from '../lib/words';
import { auditQuery } from '../queries/admin';
import type { AuditEntry } from '../queries/client';
import type { Column } from './DataTable';
import { detailsColumn, detailsText, EventList } from './EventList';
import { Empty, ExactTime } from './ui';

const COLUMNS: Column<AuditEntry>[] = [
  { id: 'time', header: 'Time', width: '150px', cell: (entry) => <ExactTime value={entry.time} /> },
  {
    id: 'actor',
    header: 'Who',
    width: 'minmax(100px, 0.7fr)',
    cell: (entry) => <span className="truncate">{actorName(entry.actor)}</span>,
  },
  { id: 'via', header: 'By', width: '64px', cell: (entry) => <span className="muted">{entry.via}</span> },
  {
    id: 'action',
    header: 'Action',
    width: 'minmax(130px, 0.8fr)',
    cell: (entry) => <span className="mono">{entry.action}</span>,
  },
  {
    id: 'subject',
    header: 'On',
    width: 'minmax(220px, 2fr)',
    cell: (entry) => (
      <span className="mono truncate" title={entry.subject}>
        {entry.subject}
      </span>
    ),
  },
  {
    id: 'result',
    header: 'Result',
    width: 'minmax(120px, 1fr)',
    cell: (entry) => (
      <span className="truncate" title={entry.result}>
        {entry.result}
      </span>
    ),
  },
  detailsColumn(detailsText),
];

interface Props {
  subject?: string;
  actor?: string;
  /** Takes the filters away, where a person has set them. */
  onClear?: () => void;
}

/** Who did what, newest first. */
export function AuditTable({ subject, actor, onClear }: Props) {
  return (
    <EventList
      label="Audit"
      query={auditQuery({ subject, actor })}
      columns={COLUMNS}
      rowKey={(entry) => `${entry.time} ${entry.actor} ${entry.action} ${entry.subject}`}
      empty={
        onClear && (subject || actor) ? (
          <Empty title="No entry matches" icon={<SearchX size={28} strokeWidth={1.5} />}>
            <button type="button" className="btn" onClick={onClear}>
              Clear the filters
            </button>
          </Empty>
        ) : (
          <Empty title="Nothing was done yet" icon={<ScrollText size={28} strokeWidth={1.5} />}>
            <p>Every pause, trigger, clear, mark and edit is listed here, with who did it.</p>
          </Empty>
        )
      }
    />
  );
}
