/**
 * A virtual table: any number of rows of one height, columns on one CSS grid, sorting by TanStack Table (by the
 * server when `sort` is controlled), j / k / Enter. Rows keep their element when data changes, so nothing flickers.
 */
import {
  createSortedRowModel,
  rowSortingFeature,
  tableFeatures,
  useTable,
  type ColumnDef,
  type SortingState,
} from '@tanstack/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { ArrowDown, ArrowUp } from 'lucide-react';
import { memo, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import { usePhone } from '../lib/phone';
import { useShortcuts } from '../lib/shortcuts';
import './DataTable.css';

export interface Column<T> {
  id: string;
  header: ReactNode;
  /** Name for screen readers when the header is not text. */
  name?: string;
  /** A CSS grid track, for example "minmax(200px, 2fr)". */
  width: string;
  align?: 'right';
  /** Left out on a phone. */
  extra?: boolean;
  /** Sorts on the page by this value; `true` when the server sorts by the column's id. */
  sort?: ((row: T) => string | number) | true;
  cell: (row: T) => ReactNode;
}

interface Props<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
  rowHeight?: number;
  /** "dag_id" or "-dag_id"; controlled sorting. */
  sort?: string;
  onSort?: (sort: string | undefined) => void;
  onOpen?: (row: T) => void;
  onEnd?: () => void;
  selected?: string;
  rowClass?: (row: T) => string;
  keysLabel?: string;
  /** More keys for the row with the focus. */
  rowKeys?: { keys: string; label: string; run: (row: T) => void }[];
  empty?: ReactNode;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });

function parseSort(sort: string | undefined): SortingState {
  if (!sort) return [];
  return [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }];
}

export function DataTable<T extends object>(props: Props<T>) {
  const { rows, rowKey, rowHeight = 36, sort, onSort, onOpen, onEnd } = props;
  const phone = usePhone();
  const columns = useMemo(
    () => (phone ? props.columns.filter((column) => !column.extra) : props.columns),
    [props.columns, phone],
  );
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<number | null>(null);
  const byServer = columns.some((column) => column.sort === true);

  const definitions = useMemo(
    () =>
      columns.map((column): ColumnDef<typeof features, T> => {
        const value = typeof column.sort === 'function' ? column.sort : null;
        return {
          id: column.id,
          accessorFn: (row) => (value ? value(row) : ''),
          enableSorting: column.sort !== undefined,
          sortDescFirst: false,
        };
      }),
    [columns],
  );
  const sorting = useMemo(() => parseSort(sort), [sort]);
  const table = useTable({
    features,
    columns: definitions,
    data: rows,
    state: { sorting },
    manualSorting: byServer,
    onSortingChange: (update) => {
      const next = typeof update === 'function' ? update(sorting) : update;
      const first = next[0];
      onSort?.(first ? `${first.desc ? '-' : ''}${first.id}` : undefined);
    },
    getRowId: (row) => rowKey(row),
  });
  const model = table.getRowModel().rows;
  const virtual = useVirtualizer({
    count: model.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    getItemKey: (index) => model[index]?.id ?? index,
  });
  const items = virtual.getVirtualItems();
  const lastIndex = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (onEnd && lastIndex >= model.length - 20) onEnd();
  }, [lastIndex, model.length, onEnd]);

  const focusRow = (index: number) => {
    const next = Math.max(0, Math.min(model.length - 1, index));
    setActive(next);
    virtual.scrollToIndex(next, { align: 'auto' });
    requestAnimationFrame(() =>
      scroller.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus({ preventScroll: true }),
    );
  };
  const activeRow = active === null ? undefined : model[active]?.original;
  const group = props.keysLabel ?? 'Table';
  useShortcuts([
    { keys: 'j', label: 'Next row', group, run: () => focusRow(active === null ? 0 : active + 1) },
    { keys: 'k', label: 'Previous row', group, run: () => focusRow(active === null ? 0 : active - 1) },
    { keys: 'Enter', label: 'Open the row', group, run: () => activeRow && onOpen?.(activeRow) },
    ...(props.rowKeys ?? []).map((key) => ({ ...key, group, run: () => activeRow && key.run(activeRow) })),
  ]);

  const latestOpen = useRef(onOpen);
  useEffect(() => {
    latestOpen.current = onOpen;
  });
  const open = useCallback((row: T) => latestOpen.current?.(row), []);

  if (model.length === 0 && props.empty)
    return (
      <div className="dt" ref={scroller}>
        {props.empty}
      </div>
    );
  const template = columns.map((column) => column.width).join(' ');
  return (
    <div
      className="dt"
      ref={scroller}
      role="table"
      aria-label={props.label}
      aria-rowcount={model.length + 1}
      tabIndex={0}
    >
      <div className="dt-head" role="rowgroup">
        <div className="dt-row" role="row" style={{ gridTemplateColumns: template }}>
          {columns.map((column) => {
            const at =
              sorting[0]?.id === column.id ? (sorting[0].desc ? 'descending' : 'ascending') : undefined;
            return (
              <div
                key={column.id}
                role="columnheader"
                className={column.align === 'right' ? 'dt-cell dt-right' : 'dt-cell'}
                aria-sort={at}
                aria-label={column.name}
              >
                {column.sort ? (
                  <button
                    type="button"
                    className="dt-sort"
                    onClick={() => table.getColumn(column.id)?.toggleSorting()}
                  >
                    {column.header}
                    {at === 'ascending' && <ArrowUp size={12} />}
                    {at === 'descending' && <ArrowDown size={12} />}
                  </button>
                ) : (
                  column.header
                )}
              </div>
            );
          })}
        </div>
      </div>
      <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map((item) => {
          const row = model[item.index];
          if (!row) return null;
          return (
            <BodyRow
              key={item.key}
              row={row.original}
              columns={columns}
              index={item.index}
              start={item.start}
              height={rowHeight}
              template={template}
              selected={props.selected === row.id}
              className={`dt-row dt-body ${onOpen ? 'dt-open' : ''} ${props.rowClass?.(row.original) ?? ''}`}
              onFocus={setActive}
              onOpen={open}
            />
          );
        })}
      </div>
    </div>
  );
}

interface BodyRowProps<T> {
  row: T;
  columns: Column<T>[];
  index: number;
  start: number;
  height: number;
  template: string;
  selected: boolean;
  className: string;
  onFocus: (index: number) => void;
  onOpen: (row: T) => void;
}

/** Drawn again only when its own data or place changes, so that scrolling costs only the rows that appear. */
const BodyRow = memo(function BodyRow<T>(props: BodyRowProps<T>) {
  const { row, columns, index, start, height, template } = props;
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      data-selected={props.selected || undefined}
      tabIndex={-1}
      className={props.className}
      style={{ gridTemplateColumns: template, height, transform: `translateY(${start}px)` }}
      onFocus={() => props.onFocus(index)}
      onClick={(event) => {
        if ((event.target as HTMLElement).closest('a,button,input')) return;
        props.onOpen(row);
      }}
    >
      {columns.map((column) => (
        <div
          key={column.id}
          role="cell"
          className={column.align === 'right' ? 'dt-cell dt-right' : 'dt-cell'}
        >
          {column.cell(row)}
        </div>
      ))}
    </div>
  );
}) as <T>(props: BodyRowProps<T>) => ReactNode;
