/** A list of what happened, loaded page by page as it is scrolled: the audit, the events of a run. */
import { useInfiniteQuery, type InfiniteData, type UseInfiniteQueryOptions } from '@tanstack/react-query';
import { useCallback, useMemo, type ReactNode } from 'react';
import { DataTable, type Column } from './DataTable';
import { Loading, Pop, Problem } from './ui';

interface PageOf<T> {
  items: T[];
  total: number;
  next_cursor?: string | null;
}

interface Props<T extends object, K extends readonly unknown[]> {
  label: string;
  query: UseInfiniteQueryOptions<PageOf<T>, Error, InfiniteData<PageOf<T>>, K, string | undefined>;
  columns: Column<T>[];
  rowKey: (item: T) => string;
  empty: ReactNode;
  /** Only these of what is loaded. */
  matches?: (item: T) => boolean;
  /** Above the list; knows how many there are in all. */
  toolbar?: (total: number) => ReactNode;
}

export function EventList<T extends object, K extends readonly unknown[]>(props: Props<T, K>) {
  const { label, matches } = props;
  const list = useInfiniteQuery(props.query);
  const rows = useMemo(() => {
    const items = list.data?.pages.flatMap((page) => page.items) ?? [];
    return matches ? items.filter(matches) : items;
  }, [list.data, matches]);
  const { hasNextPage, isFetching, fetchNextPage } = list;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (list.isPending) return <Loading rows={12} label={`Loading: ${label}`} />;
  if (list.isError && !list.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={list.error} retry={() => void list.refetch()} />
      </div>
    );
  return (
    <>
      {props.toolbar?.(list.data.pages[0]?.total ?? 0)}
      <DataTable
        label={label}
        columns={props.columns}
        rows={rows}
        rowKey={props.rowKey}
        rowHeight={30}
        onEnd={onEnd}
        empty={props.empty}
      />
    </>
  );
}

/** The column whose button shows a longer text of a row, if it has one. */
export function detailsColumn<T>(textOf: (row: T) => string): Column<T> {
  return {
    id: 'details',
    header: 'Details',
    width: '72px',
    cell: (row) =>
      textOf(row) && (
        <Pop
          align="end"
          trigger={
            <button type="button" className="btn ghost small">
              Show
            </button>
          }
        >
          <pre className="codeblock wrap" style={{ maxHeight: 320, margin: 4 }}>
            {textOf(row)}
          </pre>
        </Pop>
      ),
  };
}

/** The details of an entry as JSON. */
export function detailsText({ details }: { details: Record<string, unknown> }): string {
  return Object.keys(details).length > 0 ? JSON.stringify(details, null, 2) : '';
}
