import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { StateIcon } from '../../components/StateIcon';
import { stateLabel } from '../../lib/states';
import type { CallbackRun } from '../../queries/client';
import { callbacksQuery } from '../../queries/runs';

const SHOWN = 12;

function nameOf(one: CallbackRun): string {
  if (!one.task_id) return 'the DAG';
  const instance = one.map_index >= 0 ? `[${one.map_index}]` : '';
  return `${one.task_id}${instance}, try ${one.number}`;
}

/** Callbacks of the run: each is a try of its own, with its log behind the link. Failed ones come first. */
export function Callbacks({ dagId, runId }: { dagId: string; runId: string }) {
  const { data } = useQuery(callbacksQuery(dagId, runId));
  if (!data || data.length === 0) return null;
  const ordered = [...data].sort((a, b) => Number(b.state === 'failed') - Number(a.state === 'failed'));
  return (
    <div className="row wrap" role="group" aria-label="Callbacks of the run" style={{ gap: 12 }}>
      <span className="label">Callbacks</span>
      {ordered.slice(0, SHOWN).map((one) => (
        <Link
          key={`${one.log_task_id} ${one.map_index} ${one.number}`}
          className="link row"
          style={{ gap: 4 }}
          to="/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex"
          params={{ dagId, runId, taskId: one.log_task_id, mapIndex: String(one.map_index) }}
          search={{ try: one.number }}
          title={one.message || stateLabel(one.state)}
        >
          <StateIcon state={one.state} size={12} label />
          of {nameOf(one)}
        </Link>
      ))}
      {ordered.length > SHOWN && <span className="faint">and {ordered.length - SHOWN} more</span>}
    </div>
  );
}
