import { useParams } from '@tanstack/react-router';
import { RunTable } from '../../components/RunTable';

export function DagRunsView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  return <RunTable dagId={dagId} />;
}
