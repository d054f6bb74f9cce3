import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { CircleCheck } from 'lucide-react';
import { ParseErrorCard } from '../../components/ParseErrorCard';
import { Empty, Loading, Problem } from '../../components/ui';
import { parseErrorsQuery } from '../../queries/admin';
import { dagQuery } from '../../queries/dags';
import '../errors/errors.css';

/** Parse errors of the file of this DAG. */
export function DagErrorsView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const { data: dag } = useQuery(dagQuery(dagId));
  const errors = useQuery(parseErrorsQuery(''));
  if (errors.isPending) return <Loading label="Loading parse errors" />;
  if (errors.isError && !errors.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={errors.error} retry={() => void errors.refetch()} />
      </div>
    );
  const mine = errors.data.items.filter(
    (error) => error.dag_ids.includes(dagId) || (dag && error.relative_path === dag.relative_path),
  );
  return (
    <div
      className="page-body"
      style={{ paddingTop: 16 }}
      tabIndex={0}
      role="group"
      aria-label="Errors of the file"
    >
      {mine.length === 0 ? (
        <Empty
          title="The file of this DAG has no errors"
          icon={<CircleCheck size={28} strokeWidth={1.5} />}
        />
      ) : (
        <div className="errors-list">
          {mine.map((error) => (
            <ParseErrorCard
              key={`${error.relative_path}/${error.error_type}/${error.line}`}
              error={error}
              open
            />
          ))}
        </div>
      )}
    </div>
  );
}
