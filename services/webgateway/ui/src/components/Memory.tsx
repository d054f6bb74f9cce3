/** Memory of tasks: what the next try asks for, why, what the latest tries used, and a form to change it. */
import { useState } from 'react';
import { memoryText, quantity, SOURCES } from '../lib/memory';
import { formatBytes } from '../lib/time';
import type { TaskMemory } from '../queries/client';
import { useResetMemory, useSetMemory } from '../queries/memory';
import { toastGood } from './Toasts';
import { Dialog, ExactTime, Problem } from './ui';

const bytes = (amount: number) => (amount ? formatBytes(amount) : '—');

/** Peaks of the latest tries as bars; those that ran out of memory are red. */
export function Peaks({ memory }: { memory: TaskMemory }) {
  const { samples } = memory;
  if (samples.length === 0) return <span className="faint">no tries yet</span>;
  const top = Math.max(1, ...samples.map((sample) => sample.peak_memory_bytes));
  const label = `Peak memory of the latest ${samples.length} tries, at most ${formatBytes(top)}`;
  return (
    <svg width={samples.length * 5} height={24} role="img" aria-label={label}>
      <title>{label}</title>
      {samples.map((sample, index) => {
        const height = Math.max(2, (24 * sample.peak_memory_bytes) / top);
        return (
          <rect
            key={`${sample.time} ${index}`}
            x={index * 5}
            y={24 - height}
            width={4}
            height={height}
            fill={sample.out_of_memory ? 'var(--st-failed)' : 'var(--accent)'}
          />
        );
      })}
    </svg>
  );
}

interface DialogProps {
  dagId: string;
  memory: TaskMemory;
  onClose: () => void;
}

/** Sets or resets a task's memory. */
export function MemoryDialog({ dagId, memory, onClose }: DialogProps) {
  const [request, setRequest] = useState(quantity(memory.set_request_bytes));
  const [limit, setLimit] = useState(quantity(memory.set_limit_bytes));
  const save = useSetMemory(dagId);
  const reset = useResetMemory(dagId);
  const done = (text: string) => () => {
    onClose();
    toastGood(text);
  };
  const busy = save.isPending || reset.isPending;
  const id = memory.task_id;
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Memory of ${id}`}
      footer={
        <>
          <button
            type="button"
            className="btn"
            disabled={busy}
            title="Forget what was set and what was learned"
            onClick={() => reset.mutate(id, { onSuccess: done(`Memory of ${id} is reset`) })}
          >
            Reset
          </button>
          <span className="right" />
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={busy || (!request.trim() && !limit.trim())}
            onClick={() =>
              save.mutate({ taskId: id, request, limit }, { onSuccess: done(`Memory of ${id} is set`) })
            }
          >
            Save
          </button>
        </>
      }
    >
      <p className="muted">
        Now: {memoryText(memory)}.
        {memory.changed_time && (
          <>
            {' '}
            Changed by {memory.set_by}, <ExactTime value={memory.changed_time} />.
          </>
        )}
      </p>
      <div className="form-grid">
        <label className="labelled">
          <span>Request, like 512Mi</span>
          <input
            className="field mono"
            value={request}
            placeholder={quantity(memory.learned_request_bytes) || 'as learned'}
            onChange={(event) => setRequest(event.target.value)}
          />
        </label>
        <label className="labelled">
          <span>Limit, like 1Gi</span>
          <input
            className="field mono"
            value={limit}
            placeholder={quantity(memory.configured_limit_bytes) || 'none'}
            onChange={(event) => setLimit(event.target.value)}
          />
        </label>
      </div>
      <p className="faint small">It counts from the next try on. What is left empty stays as learned.</p>
      {save.isError && <Problem error={save.error} />}
      {reset.isError && <Problem error={reset.error} />}
    </Dialog>
  );
}

/** All tasks of a DAG. */
export function MemoryTable({ dagId, tasks }: { dagId: string; tasks: TaskMemory[] }) {
  const [editing, setEditing] = useState<TaskMemory>();
  return (
    <>
      <table className="plain">
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">Next request</th>
            <th scope="col">Limit</th>
            <th scope="col">From</th>
            <th scope="col">Latest peaks</th>
            <th scope="col">
              <span className="sr-only">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {tasks.map((task) => (
            <tr key={task.task_id}>
              <td className="mono">{task.task_id}</td>
              <td>{bytes(task.request_bytes)}</td>
              <td>{bytes(task.limit_bytes)}</td>
              <td className="muted">{SOURCES[task.source] ?? '—'}</td>
              <td>
                <Peaks memory={task} />
              </td>
              <td>
                <button
                  type="button"
                  className="btn ghost small"
                  aria-label={`Change memory of ${task.task_id}`}
                  onClick={() => setEditing(task)}
                >
                  Change
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {editing && <MemoryDialog dagId={dagId} memory={editing} onClose={() => setEditing(undefined)} />}
    </>
  );
}
