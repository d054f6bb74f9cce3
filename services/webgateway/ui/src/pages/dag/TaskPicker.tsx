/** The tasks with their figures, slowest first; a checked one has a line in the chart. */
import { useState } from 'react';
import { LineSample } from '../../components/charts/TaskLines';
import { FilterField } from '../../components/ui';
import { usePatchSearch } from '../../lib/search';
import { formatDuration } from '../../lib/time';
import { MOST_LINES, toggleTask, type Metric } from '../../lib/timings';
import type { TaskDuration } from '../../queries/timings';

/** Rows of the table; the filter finds the others. */
const ROWS = 40;

interface Props {
  metric: Metric;
  tasks: TaskDuration[];
  total: number;
  chosen: string[];
}

export function TaskPicker({ metric, tasks, total, chosen }: Props) {
  const patch = usePatchSearch();
  const [filter, setFilter] = useState('');
  const text = filter.toLowerCase();
  const matching = tasks.filter((task) => task.task_id.toLowerCase().includes(text));
  // Chosen ones stay in sight, whatever the filter.
  const rows = [
    ...tasks.filter((task) => chosen.includes(task.task_id)),
    ...matching.filter((task) => !chosen.includes(task.task_id)).slice(0, ROWS),
  ];
  const hidden = matching.length - rows.length;
  return (
    <>
      <div className="row">
        <FilterField label="Find a task" width={220} value={filter} onChange={setFilter} />
        <span className="muted">
          {total.toLocaleString()} {total === 1 ? 'task' : 'tasks'}
          {hidden > 0 && `, ${rows.length} shown`}; up to {MOST_LINES} have a line
        </span>
      </div>
      <div className="scroll-x">
        <table className="plain timings-tasks">
          <caption className="sr-only">Tasks, slowest first</caption>
          <thead>
            <tr>
              <th scope="col">Task</th>
              <th scope="col">Median</th>
              <th scope="col">95 %</th>
              <th scope="col">Longest</th>
              <th scope="col">Runs</th>
              <th scope="col">Failed</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((task) => {
              const line = chosen.indexOf(task.task_id);
              const found = task[metric];
              return (
                <tr key={task.task_id}>
                  <th scope="row">
                    <label className="check">
                      <input
                        type="checkbox"
                        checked={line >= 0}
                        disabled={line < 0 && chosen.length >= MOST_LINES}
                        onChange={() => patch({ tasks: toggleTask(chosen, task.task_id) })}
                      />
                      <span className="mono">{task.task_id}</span>
                      {line >= 0 && <LineSample style={line} />}
                    </label>
                  </th>
                  {[found.median_seconds, found.p95_seconds, found.max_seconds].map((seconds, index) => (
                    <td key={index}>{seconds === null ? '—' : formatDuration(Math.max(0, seconds))}</td>
                  ))}
                  <td>{task.run_count.toLocaleString()}</td>
                  <td className={task.failed_count > 0 ? 'bad' : 'faint'}>
                    {task.failed_count.toLocaleString()}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </>
  );
}
