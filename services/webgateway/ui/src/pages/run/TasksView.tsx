import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { usePatchSearch } from '../../lib/search';
import { runQuery } from '../../queries/runs';
import { TaskTable } from './TaskTable';

export function TasksView() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const patch = usePatchSearch();
  const run = useQuery(runQuery(dagId, runId));
  if (!run.data) return null;
  return (
    <TaskTable
      run={run.data}
      onOpen={(task) => patch({ task: task.task_id, map: task.map_index, try: undefined, line: undefined })}
    />
  );
}
