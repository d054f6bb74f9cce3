import { useParams } from '@tanstack/react-router';
import { BackfillTable } from '../../components/BackfillTable';

export function BackfillsView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  return <BackfillTable dagId={dagId} />;
}
