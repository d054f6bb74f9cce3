import { useInfiniteQuery } from '@tanstack/react-query';
import { ScrollText } from 'lucide-react';
import { useCallback, useMemo } from 'react';
import { actorName } from '../lib/words';
import type { AuditEntry } from '../queries/client';
import { auditQuery } from '../queries/admin';
import { DataTable, type Column } from './DataTable';
import { Empty, ExactTime, Loading, Pop, Problem } from './ui';

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
  {
    id: 'details',
    header: 'Details',
    width: '72px',
    cell: (entry) =>
      Object.keys(entry.details).length > 0 && (
        <Pop
          align="end"
          trigger={
            <button type="button" className="btn ghost small">
              Show
            </button>
          }
        >
          <pre className="codeblock wrap" style={{ maxHeight: 320, margin: 4 }}>
            {JSON.stringify(entry.details, null, 2)}
          </pre>
        </Pop>
      ),
  },
];

/** Who did what, newest first. */
export function AuditTable({ subject, actor }: { subject?: string; actor?: string }) {
  const list = useInfiniteQuery(auditQuery({ subject, actor }));
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const { hasNextPage, isFetching, fetchNextPage } = list;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (list.isPending) return <Loading rows={12} label="Loading the audit" />;
  if (list.isError && rows.length === 0)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={list.error} retry={() => void list.refetch()} />
      </div>
    );
  return (
    <DataTable
      label="Audit"
      columns={COLUMNS}
      rows={rows}
      rowKey={(entry) => `${entry.time} ${entry.actor} ${entry.action} ${entry.subject}`}
      rowHeight={30}
      onEnd={onEnd}
      empty={
        <Empty title="Nothing was done yet" icon={<ScrollText size={28} strokeWidth={1.5} />}>
          <p>Every pause, trigger, clear, mark and edit is listed here, with who did it.</p>
        </Empty>
      }
    />
  );
}
