import { Check, ChevronDown, RotateCcw, SkipForward, X } from 'lucide-react';
import { useState } from 'react';
import { Menu } from '../../components/Menu';
import { toastGood } from '../../components/Toasts';
import { useShortcuts } from '../../lib/shortcuts';
import type { TaskInstance } from '../../queries/client';
import { useMarkTasks } from '../../queries/runs';
import { ClearDialog } from '../run/ClearDialog';

/** Retry, clear and mark for one task instance. */
export function TaskActions({ task }: { task: TaskInstance }) {
  const mark = useMarkTasks(task.dag_id, task.run_id);
  const [clearing, setClearing] = useState(false);
  useShortcuts([{ keys: 'c', label: 'Clear and run again', group: 'Task', run: () => setClearing(true) }]);
  const markAs = (state: 'success' | 'failed' | 'skipped') =>
    mark.mutate(
      { task_ids: [task.task_id], map_indexes: task.map_index >= 0 ? [task.map_index] : [], state },
      { onSuccess: () => toastGood(`${task.task_id} marked ${state}`) },
    );
  return (
    <>
      <button type="button" className="btn" onClick={() => setClearing(true)} title="Clear and run again (c)">
        <RotateCcw size={13} /> {task.state === 'failed' ? 'Retry' : 'Clear'}
      </button>
      <Menu
        trigger={
          <button type="button" className="btn" disabled={mark.isPending}>
            Mark <ChevronDown size={13} />
          </button>
        }
        actions={[
          {
            label: 'Success',
            icon: <Check size={14} />,
            disabled: task.state === 'success',
            run: () => markAs('success'),
          },
          {
            label: 'Failed',
            icon: <X size={14} />,
            disabled: task.state === 'failed',
            run: () => markAs('failed'),
          },
          {
            label: 'Skipped',
            icon: <SkipForward size={14} />,
            disabled: task.state === 'skipped',
            run: () => markAs('skipped'),
          },
        ]}
      />
      {clearing && (
        <ClearDialog
          dagId={task.dag_id}
          runId={task.run_id}
          title={task.state === 'failed' ? `Retry ${task.task_id}` : `Clear ${task.task_id}`}
          choice={{
            task_ids: [task.task_id],
            map_indexes: task.map_index >= 0 ? [task.map_index] : [],
            downstream: true,
          }}
          onClose={() => setClearing(false)}
        />
      )}
    </>
  );
}
