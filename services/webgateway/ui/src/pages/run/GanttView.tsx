/** When each task of the run started and how long it took, in order of start. */
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { BarChartHorizontal } from 'lucide-react';
import { useMemo, useRef } from 'react';
import { StateIcon } from '../../components/StateIcon';
import { Duration, Empty, Loading, Problem } from '../../components/ui';
import { useNow } from '../../lib/clock';
import { ticks } from '../../lib/gantt';
import { usePatchSearch, useSearch } from '../../lib/search';
import { isFinished, stateLabel } from '../../lib/states';
import { formatDuration, formatLocal, parseTime } from '../../lib/time';
import { runTasksQuery } from '../../queries/runs';
import { taskName } from './TaskTable';

const ROW = 28;

export function GanttView() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const tasks = useQuery(runTasksQuery(dagId, runId));
  const rows = useMemo(
    () =>
      (tasks.data ?? [])
        .filter((task) => task.start_time !== null && task.start_time !== undefined)
        .sort((a, b) => (a.start_time ?? '').localeCompare(b.start_time ?? '')),
    [tasks.data],
  );
  const anyOpen = rows.some((task) => !task.end_time);
  const now = useNow(anyOpen ? 1 : 3600);
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 12,
  });
  if (tasks.isPending) return <Loading rows={12} label="Loading tasks" />;
  if (tasks.isError && !tasks.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={tasks.error} retry={() => void tasks.refetch()} />
      </div>
    );
  if (rows.length === 0)
    return (
      <Empty title="No task has started" icon={<BarChartHorizontal size={28} strokeWidth={1.5} />}>
        <p>Bars appear here as tasks start.</p>
      </Empty>
    );
  const endOf = (end: string | null | undefined) => parseTime(end)?.getTime() ?? now;
  const first = parseTime(rows[0]?.start_time)?.getTime() ?? now;
  const last = Math.max(first + 1000, ...rows.map((task) => endOf(task.end_time)));
  const span = last - first;
  const lines = ticks(span / 1000);
  return (
    <div className="gantt" ref={scroller} tabIndex={0} role="group" aria-label="Gantt chart of the run">
      <div className="gantt-head">
        <span>Task</span>
        <span style={{ position: 'relative', height: 20 }}>
          {lines.map((at) => (
            <span
              key={at}
              style={{ position: 'absolute', left: `${((at * 1000) / span) * 100}%`, whiteSpace: 'nowrap' }}
            >
              {at === 0 ? '0' : formatDuration(at).replace(/ 00[smh]$/, '')}
            </span>
          ))}
        </span>
        <span style={{ textAlign: 'right' }}>Duration</span>
      </div>
      <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {virtual.getVirtualItems().map((item) => {
          const task = rows[item.index];
          if (!task) return null;
          const start = parseTime(task.start_time)?.getTime() ?? first;
          const open = !isFinished(task.state) && !task.end_time;
          const name = taskName(task);
          return (
            <button
              key={name}
              type="button"
              className="gantt-row"
              style={{ transform: `translateY(${item.start}px)` }}
              data-selected={search.task === task.task_id && (search.map ?? -1) === task.map_index}
              aria-label={`${name}: ${stateLabel(task.state)}`}
              title={`${name}: ${stateLabel(task.state)}, from ${formatLocal(task.start_time)}`}
              onClick={() =>
                patch({ task: task.task_id, map: task.map_index, try: undefined, line: undefined })
              }
            >
              <span className="row">
                <StateIcon state={task.state} />
                <span className="mono truncate">{name}</span>
              </span>
              <span className="gantt-track">
                {lines.map((at) => (
                  <i key={at} style={{ left: `${((at * 1000) / span) * 100}%` }} />
                ))}
                <span
                  className={`gantt-bar ${open ? 'open' : ''} ${task.state}`}
                  style={
                    {
                      '--st': `var(--st-${task.state})`,
                      left: `${((start - first) / span) * 100}%`,
                      width: `${Math.max(0, (endOf(task.end_time) - start) / span) * 100}%`,
                    } as React.CSSProperties
                  }
                />
              </span>
              <span style={{ textAlign: 'right' }}>
                <Duration
                  start={task.start_time}
                  end={task.end_time}
                  seconds={task.duration_seconds}
                  running={open}
                />
              </span>
            </button>
          );
        })}
      </div>
    </div>
  );
}
