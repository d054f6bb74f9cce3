import { useVirtualizer, type VirtualItem } from '@tanstack/react-virtual';
import { ChevronDown, ChevronRight, Layers } from 'lucide-react';
import { memo, useCallback, useEffect, useMemo, useRef } from 'react';
import { StateIcon } from '../../components/StateIcon';
import { useShortcuts } from '../../lib/shortcuts';
import { countsText, stateLabel, worstState, type TaskState } from '../../lib/states';
import { barHeights } from '../../lib/strip';
import type { TreeRow } from '../../lib/taskTree';
import { elapsedSeconds, formatDuration, formatLocal } from '../../lib/time';
import type { GridRow, RunSummary } from '../../queries/client';

const NAME = 280;
const COLUMN = 26;
const ROW = 28;
const HEAD = 72;

interface Props {
  runs: RunSummary[];
  rows: GridRow[];
  tree: TreeRow[];
  selected: { run?: string; task?: string };
  onFold: (groupId: string) => void;
  onRun: (runId: string) => void;
  onCell: (runId: string, taskId: string) => void;
}

export function GridTable({ runs, rows, tree, selected, onFold, onRun, onCell }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const byTask = useMemo(() => new Map(rows.map((row) => [row.task_id, row])), [rows]);
  const heights = useMemo(
    () =>
      barHeights(
        runs.map((run) => run.duration_seconds ?? elapsedSeconds(run.start_time, run.end_time, Date.now())),
        44,
        4,
      ),
    [runs],
  );
  const vertical = useVirtualizer({
    count: tree.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 6,
    scrollMargin: HEAD,
    getItemKey: (index) => tree[index]?.id ?? index,
  });
  const horizontal = useVirtualizer({
    horizontal: true,
    count: runs.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => COLUMN,
    overscan: 4,
    scrollMargin: NAME,
  });
  useEffect(() => {
    // The newest run is at the right edge; a selected one is brought into view.
    const index = runs.findIndex((run) => run.run_id === selected.run);
    horizontal.scrollToIndex(index >= 0 ? index : runs.length - 1, { align: index >= 0 ? 'auto' : 'end' });
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only when the grid opens or grows
  }, [runs.length]);

  const columns = horizontal.getVirtualItems();
  const at = runs.findIndex((run) => run.run_id === selected.run);
  const taskRows = tree.filter((row) => row.kind === 'task');
  const move = (dRun: number, dTask: number) => {
    const run = runs[Math.max(0, Math.min(runs.length - 1, at < 0 ? runs.length - 1 : at + dRun))];
    if (!run) return;
    const from = taskRows.findIndex((row) => row.id === selected.task);
    if (dTask === 0 && from < 0) return onRun(run.run_id);
    const task = taskRows[Math.max(0, Math.min(taskRows.length - 1, from + dTask))];
    if (!task) return;
    vertical.scrollToIndex(tree.indexOf(task), { align: 'auto' });
    onCell(run.run_id, task.id);
  };
  const group = 'Grid';
  useShortcuts([
    { keys: 'j', label: 'Next task', group, run: () => move(0, 1) },
    { keys: 'k', label: 'Previous task', group, run: () => move(0, -1) },
    { keys: 'h', label: 'Earlier run', group, run: () => move(-1, 0) },
    { keys: 'l', label: 'Later run', group, run: () => move(1, 0) },
  ]);

  const latest = useRef({ onFold, onCell });
  useEffect(() => {
    latest.current = { onFold, onCell };
  });
  const fold = useCallback((id: string) => latest.current.onFold(id), []);
  const cell = useCallback((run: string, task: string) => latest.current.onCell(run, task), []);

  const width = NAME + horizontal.getTotalSize();
  return (
    <div className="grid" ref={scroller} tabIndex={0} role="group" aria-label="Runs and tasks">
      <div className="grid-head" style={{ height: HEAD, width }}>
        <div className="grid-corner" style={{ width: NAME, height: HEAD - 1 }}>
          <span>
            {runs.length} {runs.length === 1 ? 'run' : 'runs'}, {rows.length.toLocaleString()}{' '}
            {rows.length === 1 ? 'task' : 'tasks'}
          </span>
        </div>
        {columns.map((column) => {
          const run = runs[column.index];
          if (!run) return null;
          return (
            <RunHead
              key={run.run_id}
              run={run}
              left={column.start}
              height={heights[column.index] ?? 4}
              selected={run.run_id === selected.run}
              onRun={onRun}
            />
          );
        })}
      </div>
      <div style={{ height: vertical.getTotalSize(), width, position: 'relative' }}>
        {vertical.getVirtualItems().map((item) => {
          const row = tree[item.index];
          if (!row) return null;
          return (
            <Row
              key={row.id}
              row={row}
              top={item.start - HEAD}
              width={width}
              columns={columns}
              runs={runs}
              byTask={byTask}
              selectedRun={row.id === selected.task ? selected.run : undefined}
              onFold={fold}
              onCell={cell}
            />
          );
        })}
      </div>
    </div>
  );
}

interface RowProps {
  row: TreeRow;
  top: number;
  width: number;
  columns: VirtualItem[];
  runs: RunSummary[];
  byTask: Map<string, GridRow>;
  selectedRun: string | undefined;
  onFold: (groupId: string) => void;
  onCell: (runId: string, taskId: string) => void;
}

/** Drawn again only when its own data or the visible runs change. */
const Row = memo(function Row({
  row,
  top,
  width,
  columns,
  runs,
  byTask,
  selectedRun,
  onFold,
  onCell,
}: RowProps) {
  return (
    <div className="grid-row" style={{ top, width }}>
      <div className="grid-name" style={{ width: NAME, paddingLeft: 16 + row.depth * 14 }}>
        <RowName row={row} onFold={onFold} />
      </div>
      {columns.map((column) => {
        const run = runs[column.index];
        if (!run) return null;
        if (row.kind === 'group')
          return (
            <GroupCell
              key={run.run_id}
              row={row}
              index={column.index}
              left={column.start}
              byTask={byTask}
              onFold={onFold}
            />
          );
        const cells = byTask.get(row.id);
        return (
          <Cell
            key={run.run_id}
            runId={run.run_id}
            taskId={row.id}
            left={column.start}
            state={cells?.states[column.index] ?? null}
            counts={cells?.mapped_counts[column.index] ?? null}
            selected={run.run_id === selectedRun}
            onCell={onCell}
          />
        );
      })}
    </div>
  );
});

function RowName({ row, onFold }: { row: TreeRow; onFold: (id: string) => void }) {
  if (row.kind === 'group')
    return (
      <button type="button" className="fold" aria-expanded={row.open} onClick={() => onFold(row.id)}>
        {row.open ? <ChevronDown size={14} /> : <ChevronRight size={14} />}
        <span className="truncate">{row.label}</span>
        <span className="faint small">{row.taskIds.length}</span>
      </button>
    );
  return (
    <>
      <span className="truncate" title={`${row.id} · ${row.task.operator}`}>
        {row.label}
      </span>
      {row.task.mapped && <Layers size={12} className="faint" aria-label="mapped" role="img" />}
      <span className="faint small truncate right">{row.task.operator.replace(/Operator$/, '')}</span>
    </>
  );
}

interface RunHeadProps {
  run: RunSummary;
  left: number;
  height: number;
  selected: boolean;
  onRun: (runId: string) => void;
}

const RunHead = memo(function RunHead({ run, left, height, selected, onRun }: RunHeadProps) {
  const open = run.state === 'running' || run.state === 'queued';
  const took = formatDuration(run.duration_seconds);
  return (
    <button
      type="button"
      className="grid-run"
      style={{ left, width: COLUMN, height: HEAD - 1 }}
      data-selected={selected}
      aria-label={`Run ${run.run_id}: ${stateLabel(run.state)}`}
      title={`${run.run_id}\n${stateLabel(run.state)}, ${open ? 'started' : `took ${took}, started`} ${formatLocal(run.start_time ?? run.queued_time)}`}
      onClick={() => onRun(run.run_id)}
    >
      <span
        className="bar-fill"
        style={
          open
            ? {
                height,
                border: `1.5px ${run.state === 'queued' ? 'dashed' : 'solid'} var(--st-${run.state})`,
              }
            : { height, background: `var(--st-${run.state})` }
        }
      />
      <StateIcon state={run.state} size={12} />
    </button>
  );
});

interface CellProps {
  runId: string;
  taskId: string;
  left: number;
  state: TaskState | null;
  counts: Record<string, number> | null;
  selected: boolean;
  onCell: (runId: string, taskId: string) => void;
}

const Cell = memo(function Cell({ runId, taskId, left, state, counts, selected, onCell }: CellProps) {
  if (state === null) return null;
  const many = counts ? Object.values(counts).reduce((sum, count) => sum + count, 0) : 0;
  const text = many > 0 && counts ? countsText(counts) : stateLabel(state);
  return (
    <button
      type="button"
      className="grid-cell"
      style={{ left, width: COLUMN }}
      data-selected={selected}
      tabIndex={-1}
      aria-label={`${taskId} in ${runId}: ${text}`}
      title={`${taskId}: ${text}`}
      onClick={() => onCell(runId, taskId)}
    >
      <StateIcon state={state} size={16} />
      {many > 0 && <span className="many">{many > 999 ? '999+' : many}</span>}
    </button>
  );
});

interface GroupCellProps {
  row: Extract<TreeRow, { kind: 'group' }>;
  index: number;
  left: number;
  byTask: Map<string, GridRow>;
  onFold: (id: string) => void;
}

function GroupCell({ row, index, left, byTask, onFold }: GroupCellProps) {
  const states = row.taskIds.map((id) => byTask.get(id)?.states[index] ?? null);
  const worst = worstState(states);
  if (worst === null) return null;
  const counts: Record<string, number> = {};
  for (const state of states) if (state) counts[state] = (counts[state] ?? 0) + 1;
  return (
    <button
      type="button"
      className="grid-cell folded"
      style={{ left, width: COLUMN }}
      tabIndex={-1}
      aria-label={`Group ${row.label}: ${countsText(counts)}`}
      title={`${row.label}: ${countsText(counts)}`}
      onClick={() => onFold(row.id)}
    >
      <StateIcon state={worst} size={row.open ? 10 : 14} />
    </button>
  );
}
