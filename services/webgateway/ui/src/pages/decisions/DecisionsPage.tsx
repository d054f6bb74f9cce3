/** Everything that waits for a person, in all DAGs; what was decided on demand. */
import { useQuery } from '@tanstack/react-query';
import { UserCheck } from 'lucide-react';
import { useState } from 'react';
import { DecisionCard } from '../../components/DecisionCard';
import { Empty, Loading, Problem } from '../../components/ui';
import { decisionsQuery } from '../../queries/decisions';

export function DecisionsPage() {
  const [all, setAll] = useState(false);
  const query = useQuery(decisionsQuery(all));
  const items = query.data?.items ?? [];
  return (
    <>
      <div className="page-head">
        <h1>Required actions</h1>
        <label className="check">
          <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
          Also what was decided
        </label>
      </div>
      {query.isPending ? (
        <Loading rows={6} label="Loading what waits for a decision" />
      ) : query.isError ? (
        <div style={{ padding: 16 }}>
          <Problem error={query.error} retry={() => void query.refetch()} />
        </div>
      ) : items.length === 0 ? (
        <Empty title="Nothing waits for a decision" icon={<UserCheck size={28} strokeWidth={1.5} />}>
          <p>Tasks that ask a person (ApprovalOperator, HITLOperator) show here.</p>
        </Empty>
      ) : (
        <div className="decisions">
          {items.map((decision) => (
            <DecisionCard
              key={`${decision.dag_id}/${decision.run_id}/${decision.task_id}/${decision.map_index}/${decision.try_number}`}
              decision={decision}
              named
            />
          ))}
        </div>
      )}
    </>
  );
}
