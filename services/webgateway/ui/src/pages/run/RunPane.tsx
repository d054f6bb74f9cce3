/** The pane beside a grid: one run in short. */
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ArrowRight, X } from 'lucide-react';
import { IconButton, Loading, Problem } from '../../components/ui';
import { usePatchSearch } from '../../lib/search';
import { useShortcuts } from '../../lib/shortcuts';
import { runQuery } from '../../queries/runs';
import { RunActions } from './RunActions';
import { RunFacts } from './RunFacts';
import { TaskTable } from './TaskTable';
import '../task/task.css';

export function RunPane({ dagId, runId }: { dagId: string; runId: string }) {
  const patch = usePatchSearch();
  const run = useQuery(runQuery(dagId, runId));
  const close = () => patch({ run: undefined, task: undefined });
  useShortcuts([{ keys: 'Escape', label: 'Close the pane', group: 'Run', run: close }]);
  return (
    <aside className="pane" aria-label={`Run ${runId}`}>
      <div className="pane-head">
        <h2 className="truncate mono" title={runId}>
          {runId}
        </h2>
        <span className="right" />
        <Link className="btn ghost small" to="/dags/$dagId/runs/$runId" params={{ dagId, runId }}>
          Open the run <ArrowRight size={13} />
        </Link>
        <IconButton label="Close (Esc)" onClick={close}>
          <X size={15} />
        </IconButton>
      </div>
      {run.isPending ? (
        <Loading />
      ) : run.isError && !run.data ? (
        <div style={{ padding: 16 }}>
          <Problem error={run.error} retry={() => void run.refetch()} />
        </div>
      ) : (
        <>
          <div style={{ padding: '0 16px 12px', display: 'grid', gap: 10 }}>
            <RunFacts run={run.data} />
            <div className="row">
              <RunActions run={run.data} />
            </div>
          </div>
          <div className="page-table">
            <TaskTable
              run={run.data}
              compact
              onOpen={(task) => patch({ task: task.task_id, map: task.map_index })}
            />
          </div>
        </>
      )}
    </aside>
  );
}
