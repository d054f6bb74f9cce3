import { Check, ChevronDown, RotateCcw, Square, X } from 'lucide-react';
import { useState } from 'react';
import { Menu } from '../../components/Menu';
import { toastGood } from '../../components/Toasts';
import { Dialog } from '../../components/ui';
import { useShortcuts } from '../../lib/shortcuts';
import type { Run } from '../../queries/client';
import { useMarkRun, useStopRun, type ClearChoice } from '../../queries/runs';
import { ClearDialog } from './ClearDialog';

/** Clear, mark and stop for a run. */
export function RunActions({ run }: { run: Run }) {
  const mark = useMarkRun(run.dag_id, run.run_id);
  const stop = useStopRun(run.dag_id, run.run_id);
  const [clearing, setClearing] = useState<ClearChoice | null>(null);
  const [stopping, setStopping] = useState(false);
  const open = run.state === 'running' || run.state === 'queued';
  const failed = (run.task_counts.failed ?? 0) + (run.task_counts.upstream_failed ?? 0);
  useShortcuts([
    {
      keys: 'c',
      label: 'Clear the failed tasks',
      group: 'Run',
      run: () => setClearing({ only_failed: true }),
    },
  ]);
  const markAs = (state: 'success' | 'failed') =>
    mark.mutate(state, { onSuccess: () => toastGood(`Run marked ${state}`) });
  return (
    <>
      <button
        type="button"
        className={failed > 0 ? 'btn primary' : 'btn'}
        disabled={failed === 0}
        title={failed === 0 ? 'No task has failed' : 'Clear the failed tasks (c)'}
        onClick={() => setClearing({ only_failed: true })}
      >
        <RotateCcw size={13} /> Clear failed
      </button>
      <button type="button" className="btn" onClick={() => setClearing({})}>
        Clear all
      </button>
      <Menu
        trigger={
          <button type="button" className="btn">
            Mark <ChevronDown size={13} />
          </button>
        }
        actions={[
          {
            label: 'Success',
            icon: <Check size={14} />,
            disabled: run.state === 'success',
            run: () => markAs('success'),
          },
          {
            label: 'Failed',
            icon: <X size={14} />,
            disabled: run.state === 'failed',
            run: () => markAs('failed'),
          },
        ]}
      />
      {open && (
        <button type="button" className="btn danger" onClick={() => setStopping(true)}>
          <Square size={12} /> Stop
        </button>
      )}
      {clearing && (
        <ClearDialog
          dagId={run.dag_id}
          runId={run.run_id}
          title={clearing.only_failed ? 'Clear the failed tasks' : 'Clear all tasks of the run'}
          choice={clearing}
          onClose={() => setClearing(null)}
        />
      )}
      <Dialog
        open={stopping}
        onClose={() => setStopping(false)}
        title="Stop this run?"
        description="Running tasks are ended and the rest does not start. The run ends as failed; it can be cleared later."
        footer={
          <>
            <button type="button" className="btn" onClick={() => setStopping(false)}>
              Keep it running
            </button>
            <button
              type="button"
              className="btn danger"
              disabled={stop.isPending}
              onClick={() =>
                stop.mutate(undefined, {
                  onSuccess: () => {
                    setStopping(false);
                    toastGood('Run stopped');
                  },
                })
              }
            >
              Stop the run
            </button>
          </>
        }
      >
        <p className="mono">{run.run_id}</p>
      </Dialog>
    </>
  );
}
