import { useParams } from '@tanstack/react-router';
import { AuditTable } from '../../components/AuditTable';

/** What people did to this DAG. */
export function DagEventsView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  return <AuditTable subject={`dag/${dagId}`} />;
}
