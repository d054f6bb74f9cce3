/** The graph as it was for this run. */
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { Graph } from '../../components/graph/Graph';
import { Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { statesByTask } from '../../lib/taskStates';
import { layoutQuery } from '../../queries/dags';
import { runQuery, runTasksQuery } from '../../queries/runs';

export function RunGraphView() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const run = useQuery(runQuery(dagId, runId));
  const layout = useQuery({ ...layoutQuery(dagId, run.data?.version), enabled: run.data !== undefined });
  const tasks = useQuery(runTasksQuery(dagId, runId));
  const states = useMemo(() => statesByTask(tasks.data), [tasks.data]);
  if (layout.isPending) return <Loading label="Loading the graph" />;
  if (layout.isError && !layout.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={layout.error} retry={() => void layout.refetch()} />
      </div>
    );
  return (
    <Graph
      layout={layout.data}
      states={states}
      selected={search.task}
      onTask={(task) => patch({ task, map: undefined, try: undefined, line: undefined })}
    />
  );
}
