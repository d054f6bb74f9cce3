/** The graph of the DAG as it is now, or as it was for the chosen run, with that run's states. */
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { Graph } from '../../components/graph/Graph';
import { Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { statesByTask } from '../../lib/taskStates';
import { stateLabel } from '../../lib/states';
import { formatLocal } from '../../lib/time';
import { dagQuery, layoutQuery } from '../../queries/dags';
import { runTasksQuery } from '../../queries/runs';
import { TaskPane } from '../task/TaskPane';

export function DagGraphView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const dag = useQuery(dagQuery(dagId));
  const runs = [...(dag.data?.recent_runs ?? [])].reverse();
  const run = runs.find((one) => one.run_id === search.run);
  const layout = useQuery(layoutQuery(dagId, run?.version));
  const tasks = useQuery({ ...runTasksQuery(dagId, search.run ?? ''), enabled: search.run !== undefined });
  const states = useMemo(() => statesByTask(search.run ? tasks.data : []), [tasks.data, search.run]);
  return (
    <div className="split">
      <div className="col">
        <div className="toolbar">
          <label className="row">
            <span className="muted">States of</span>
            <select
              className={search.run ? 'field on mono' : 'field'}
              value={search.run ?? ''}
              onChange={(event) => patch({ run: event.target.value || undefined, task: undefined })}
            >
              <option value="">no run, the latest version</option>
              {search.run && !run && <option value={search.run}>{search.run}</option>}
              {runs.map((one) => (
                <option key={one.run_id} value={one.run_id}>
                  {formatLocal(one.start_time ?? one.queued_time)} · {stateLabel(one.state)} · {one.run_id}
                </option>
              ))}
            </select>
          </label>
          <span className="right muted">
            {layout.data && `${layout.data.tasks.length.toLocaleString()} tasks`}
            {layout.data && <span className="mono"> · {layout.data.version.slice(0, 12)}</span>}
          </span>
        </div>
        {layout.isPending ? (
          <Loading label="Loading the graph" />
        ) : layout.isError && !layout.data ? (
          <div style={{ padding: 16 }}>
            <Problem error={layout.error} retry={() => void layout.refetch()} />
          </div>
        ) : (
          <Graph
            layout={layout.data}
            states={search.run ? states : undefined}
            selected={search.task}
            onTask={(task) =>
              patch(
                search.run
                  ? { task, map: undefined, try: undefined }
                  : { task, run: runs[0]?.run_id, map: undefined },
              )
            }
          />
        )}
      </div>
      {search.run && search.task && (
        <TaskPane
          key={`${search.run}/${search.task}`}
          dagId={dagId}
          runId={search.run}
          taskId={search.task}
        />
      )}
    </div>
  );
}
