/** The graph as it was for the latest run or a chosen one, with its states; or of the latest version, without any. */
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
import { runQuery, runTasksQuery } from '../../queries/runs';
import { TaskPane } from '../task/TaskPane';

export function DagGraphView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const dag = useQuery(dagQuery(dagId));
  const runs = [...(dag.data?.recent_runs ?? [])].reverse();
  const shown = search.plain ? undefined : (search.run ?? runs[0]?.run_id);
  const known = runs.find((one) => one.run_id === shown);
  const older = useQuery({ ...runQuery(dagId, shown ?? ''), enabled: shown !== undefined && !known });
  const run = known ?? (older.data?.run_id === shown ? older.data : undefined);
  const layout = useQuery({
    ...layoutQuery(dagId, run?.version),
    enabled: shown === undefined || run !== undefined || older.isError,
  });
  const tasks = useQuery({ ...runTasksQuery(dagId, shown ?? ''), enabled: shown !== undefined });
  const states = useMemo(() => statesByTask(shown ? tasks.data : []), [tasks.data, shown]);
  return (
    <div className="split">
      <div className="col">
        <div className="toolbar">
          <label className="row">
            <span className="muted">States of</span>
            <select
              className={search.run ? 'field on mono' : 'field'}
              value={shown ?? ''}
              onChange={(event) =>
                patch({
                  run: event.target.value || undefined,
                  plain: event.target.value === '' || undefined,
                  task: undefined,
                })
              }
            >
              <option value="">no run, the latest version</option>
              {shown && !known && <option value={shown}>{shown}</option>}
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
            states={shown ? states : undefined}
            selected={search.task}
            onTask={(task) =>
              // What is looked at stays, when another run becomes the latest.
              patch({
                task,
                run: shown ?? runs[0]?.run_id,
                plain: undefined,
                map: undefined,
                try: undefined,
                line: undefined,
              })
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
