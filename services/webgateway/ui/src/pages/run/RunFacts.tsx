import { Link } from '@tanstack/react-router';
import { StateIcon, StateLabel } from '../../components/StateIcon';
import { Duration, ExactTime, RelativeTime } from '../../components/ui';
import { stateLabel, TASK_STATES } from '../../lib/states';
import { actorName, sentence } from '../../lib/words';
import type { Run } from '../../queries/client';
import { Callbacks } from './Callbacks';

/** State, times and where it came from, and a bar of its tasks by state. */
export function RunFacts({ run }: { run: Run }) {
  const open = run.state === 'running' || run.state === 'queued';
  return (
    <>
      <dl className="facts-line">
        <div>
          <dt className="sr-only">State</dt>
          <dd style={{ fontWeight: 550 }}>
            <StateLabel state={run.state} marked={run.marked} />
          </dd>
        </div>
        <div>
          <dt>{open ? 'Running for' : 'Took'}</dt>
          <dd>
            <Duration
              start={run.start_time}
              end={run.end_time}
              seconds={run.duration_seconds}
              running={run.state === 'running'}
            />
          </dd>
        </div>
        <div>
          <dt>Started</dt>
          <dd>
            <RelativeTime value={run.start_time ?? run.queued_time} />
          </dd>
        </div>
        <div>
          <dt>Type</dt>
          <dd>
            {run.run_type}
            {run.actor && ` by ${actorName(run.actor)}`}
          </dd>
        </div>
        {run.logical_date && (
          <div>
            <dt>Logical date</dt>
            <dd>
              <ExactTime value={run.logical_date} />
            </dd>
          </div>
        )}
        {run.partition_key && (
          <div>
            <dt>Partition key</dt>
            <dd className="mono">{run.partition_key}</dd>
          </div>
        )}
        <div>
          <dt>Version</dt>
          <dd>
            <Link
              className="mono"
              to="/dags/$dagId/code"
              params={{ dagId: run.dag_id }}
              search={{ version: run.version }}
            >
              {run.version.slice(0, 12) || '—'}
            </Link>
          </dd>
        </div>
        {run.note && (
          <div>
            <dt>Note</dt>
            <dd>{run.note}</dd>
          </div>
        )}
      </dl>
      {run.awaiting_layout && <p className="muted">The layout of this dynamic run is being computed.</p>}
      {run.reason && (
        <p style={run.state === 'failed' ? { color: 'var(--danger)' } : undefined}>{sentence(run.reason)}</p>
      )}
      <StateBar counts={run.task_counts} />
      <Callbacks dagId={run.dag_id} runId={run.run_id} />
    </>
  );
}

export function StateBar({ counts }: { counts: Record<string, number> }) {
  const present = TASK_STATES.filter((state) => (counts[state] ?? 0) > 0);
  if (present.length === 0) return null;
  return (
    <div>
      <div className="state-bar" aria-hidden="true">
        {present.map((state) => (
          <span key={state} style={{ flexGrow: counts[state], background: `var(--st-${state})` }} />
        ))}
      </div>
      <ul className="legend">
        {present.map((state) => (
          <li key={state} className="state-label">
            <StateIcon state={state} size={12} />
            {counts[state]?.toLocaleString()} {stateLabel(state).toLowerCase()}
          </li>
        ))}
      </ul>
    </div>
  );
}
