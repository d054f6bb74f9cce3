/** One run: what happened, what is happening, and what to do about it. */
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useParams } from '@tanstack/react-router';
import { ChevronRight } from 'lucide-react';
import { TabLinks, type TabLink } from '../../components/Tabs';
import { CopyText, Loading, Problem } from '../../components/ui';
import { Why } from '../../components/Why';
import { useSearch } from '../../lib/search';
import { isFinished } from '../../lib/states';
import { runQuery } from '../../queries/runs';
import { TaskPane } from '../task/TaskPane';
import { RunActions } from './RunActions';
import { RunFacts } from './RunFacts';
import '../dag/dag.css';
import '../task/task.css';
import './run.css';

const TABS: TabLink[] = [
  { name: 'Tasks', label: 'Tasks', to: '/dags/$dagId/runs/$runId', exact: true },
  { name: 'Gantt', label: 'Gantt', to: '/dags/$dagId/runs/$runId/gantt' },
  { name: 'Graph', label: 'Graph', to: '/dags/$dagId/runs/$runId/graph' },
  { name: 'Events', label: 'Events', to: '/dags/$dagId/runs/$runId/events' },
  { name: 'Conf', label: 'Conf', to: '/dags/$dagId/runs/$runId/conf' },
];

export function RunPage() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const search = useSearch();
  const run = useQuery(runQuery(dagId, runId));
  if (run.isError && !run.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={run.error} retry={() => void run.refetch()} />
        <p style={{ marginTop: 12 }}>
          <Link className="link" to="/dags/$dagId/runs" params={{ dagId }}>
            Runs of {dagId}
          </Link>
        </p>
      </div>
    );
  return (
    <>
      <header className="dag-head">
        <div className="row">
          <nav className="crumbs" aria-label="Breadcrumb">
            <Link to="/">DAGs</Link>
            <ChevronRight size={13} aria-hidden="true" />
            <Link to="/dags/$dagId" params={{ dagId }} className="truncate">
              {dagId}
            </Link>
            <ChevronRight size={13} aria-hidden="true" />
          </nav>
          <h1 className="truncate mono run-title">{runId}</h1>
          <CopyText text={runId} label="Copy the run id" />
          <span className="right" />
          {run.data && <RunActions run={run.data} />}
        </div>
        {run.data ? (
          <RunFacts run={run.data} />
        ) : (
          <div className="skeleton" style={{ height: 20, width: 480 }} />
        )}
        {run.data && !isFinished(run.data.state) && (
          <Why subject={{ dagId, runId }} state={JSON.stringify(run.data.task_counts)} />
        )}
      </header>
      <TabLinks
        label="Views of the run"
        tabs={TABS}
        params={{ dagId, runId }}
        search={search.task ? { task: search.task, map: search.map } : {}}
      />
      {run.isPending ? (
        <Loading />
      ) : (
        <div className="split">
          <div className="col">
            <Outlet />
          </div>
          {search.task && <TaskPane key={search.task} dagId={dagId} runId={runId} taskId={search.task} />}
        </div>
      )}
    </>
  );
}
