/** One task instance over the whole page. */
import { Link, useParams } from '@tanstack/react-router';
import { ChevronRight } from 'lucide-react';
import { CopyText } from '../../components/ui';
import '../dag/dag.css';
import { TaskPanel } from './TaskPanel';

export function TaskPage() {
  const { dagId, runId, taskId, mapIndex } = useParams({
    from: '/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex',
  });
  const index = Number(mapIndex);
  return (
    <>
      <header className="dag-head">
        <div className="row">
          <nav className="crumbs" aria-label="Breadcrumb" style={{ minWidth: 0 }}>
            <Link to="/">DAGs</Link>
            <ChevronRight size={13} aria-hidden="true" />
            <Link to="/dags/$dagId" params={{ dagId }} className="truncate">
              {dagId}
            </Link>
            <ChevronRight size={13} aria-hidden="true" />
            <Link to="/dags/$dagId/runs/$runId" params={{ dagId, runId }} className="truncate mono">
              {runId}
            </Link>
            <ChevronRight size={13} aria-hidden="true" />
          </nav>
          <h1 className="truncate mono" style={{ fontSize: 15 }}>
            {taskId}
            {index >= 0 && ` [${index}]`}
          </h1>
          <CopyText text={taskId} label="Copy the task id" />
        </div>
      </header>
      <TaskPanel key={`${runId}/${taskId}/${mapIndex}`} taskKey={{ dagId, runId, taskId, mapIndex: index }} />
    </>
  );
}
