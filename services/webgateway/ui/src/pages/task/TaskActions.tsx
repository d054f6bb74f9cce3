import { Check, ChevronDown, OctagonX, RotateCcw, SkipForward, X } from 'lucide-react';
import { useState } from 'react';
import { Menu } from '../../components/Menu';
import { toastGood } from '../../components/Toasts';
import { useShortcuts } from '../../lib/shortcuts';
import type { TaskInstance } from '../../queries/client';
import { useKillTasks, useMarkTasks } from '../../queries/runs';
import { ClearDialog } from '../run/ClearDialog';

const IN_PROGRESS = new Set<string>([
  'queued',
  'running',
  'deferred',
  'restarting',
  'up_for_retry',
  'up_for_reschedule',
]);

/** Retry, clear, kill and mark for one task instance. */
export function TaskActions({ task }: { task: TaskInstance }) {
  const mark = useMarkTasks(task.dag_id, task.run_id);
  const kill = useKillTasks(task.dag_id, task.run_id);
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
      {IN_PROGRESS.has(task.state) && (
        <button
          type="button"
          className="btn"
          disabled={kill.isPending}
          title="End this try: it fails, without a retry"
          onClick={() =>
            kill.mutate(
              { task_ids: [task.task_id], map_indexes: task.map_index >= 0 ? [task.map_index] : [] },
              { onSuccess: () => toastGood(`${task.task_id} is being killed`) },
            )
          }
        >
          <OctagonX size={13} /> Kill
        </button>
      )}
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
