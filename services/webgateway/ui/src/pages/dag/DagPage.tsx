/** One DAG: its header answers "does it run, when next, and why not", the views below show how. */
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useParams } from '@tanstack/react-router';
import { AlertTriangle, ChevronRight, History, Play } from 'lucide-react';
import { useState } from 'react';
import { BackfillDialog } from '../../components/BackfillDialog';
import { StateIcon } from '../../components/StateIcon';
import { TabLinks, type TabLink } from '../../components/Tabs';
import { TriggerDialog } from '../../components/TriggerDialog';
import { Why } from '../../components/Why';
import { CopyText, Hint, Loading, Problem, RelativeTime, Switch } from '../../components/ui';
import { useSearch } from '../../lib/search';
import { useShortcuts } from '../../lib/shortcuts';
import { stateLabel } from '../../lib/states';
import { sentence } from '../../lib/words';
import type { DagDetails } from '../../queries/client';
import { dagQuery, usePauseDag } from '../../queries/dags';
import './dag.css';

const TABS: TabLink[] = [
  { name: 'Grid', label: 'Grid', to: '/dags/$dagId', exact: true },
  { name: 'Graph', label: 'Graph', to: '/dags/$dagId/graph' },
  { name: 'Runs', label: 'Runs', to: '/dags/$dagId/runs' },
  { name: 'Calendar', label: 'Calendar', to: '/dags/$dagId/calendar' },
  { name: 'Durations', label: 'Durations', to: '/dags/$dagId/durations' },
  { name: 'Landing times', label: 'Landing times', to: '/dags/$dagId/landing' },
  { name: 'Backfills', label: 'Backfills', to: '/dags/$dagId/backfills' },
  { name: 'Simulate', label: 'Simulate', to: '/dags/$dagId/simulate' },
  { name: 'Code', label: 'Code', to: '/dags/$dagId/code' },
  { name: 'Details', label: 'Details', to: '/dags/$dagId/details' },
  { name: 'Errors', label: 'Errors', to: '/dags/$dagId/errors' },
  { name: 'Audit', label: 'Audit', to: '/dags/$dagId/events' },
];

export function DagPage() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const { run } = useSearch();
  const dag = useQuery(dagQuery(dagId));
  const navigate = useNavigate();
  const [triggering, setTriggering] = useState(false);
  const [backfilling, setBackfilling] = useState(false);
  useShortcuts([{ keys: 'r', label: 'Trigger a run', group: 'DAG', run: () => setTriggering(true) }]);
  if (dag.isError && !dag.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={dag.error} retry={() => void dag.refetch()} />
        <p style={{ marginTop: 12 }}>
          <Link className="link" to="/">
            All DAGs
          </Link>{' '}
          ·{' '}
          <Link className="link" to="/parse-errors">
            Parse errors
          </Link>
        </p>
      </div>
    );
  return (
    <>
      <header className="dag-head">
        <div className="row wrap">
          <nav className="crumbs" aria-label="Breadcrumb">
            <Link to="/">DAGs</Link>
            <ChevronRight size={13} aria-hidden="true" />
          </nav>
          <h1 className="truncate">{dagId}</h1>
          <CopyText text={dagId} label="Copy the DAG id" />
          {dag.data && <Badges dag={dag.data} />}
          <span className="right" />
          {dag.data && <Pause dag={dag.data} />}
          <button
            type="button"
            className="btn"
            disabled={!dag.data?.can_edit}
            onClick={() => setBackfilling(true)}
          >
            <History size={13} /> Backfill
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={!dag.data?.can_edit}
            onClick={() => setTriggering(true)}
          >
            <Play size={13} /> Trigger
          </button>
        </div>
        {dag.data ? (
          <Facts dag={dag.data} />
        ) : (
          <div className="skeleton" style={{ height: 20, width: 480 }} />
        )}
        {dag.data && !isActive(dag.data) && (
          <Why
            subject={{ dagId }}
            state={`${dag.data.version} ${dag.data.paused} ${dag.data.active_runs}`}
            known="NO_SCHEDULE"
          />
        )}
      </header>
      <TabLinks label="Views of the DAG" tabs={TABS} params={{ dagId }} search={run ? { run } : {}} />
      {dag.isPending ? <Loading /> : <Outlet />}
      {backfilling && dag.data && (
        <BackfillDialog
          dagId={dagId}
          paused={dag.data.paused}
          onClose={() => setBackfilling(false)}
          onCreated={() => {
            setBackfilling(false);
            void navigate({ to: '/dags/$dagId/backfills', params: { dagId } });
          }}
        />
      )}
      {triggering && dag.data && (
        <TriggerDialog dagId={dagId} paused={dag.data.paused} onClose={() => setTriggering(false)} />
      )}
    </>
  );
}

/** Whether something is running or about to: then nobody asks why nothing is. */
function isActive(dag: DagDetails): boolean {
  return !dag.paused && dag.active_runs > 0;
}

function Badges({ dag }: { dag: DagDetails }) {
  return (
    <>
      {dag.tags.map((tag) => (
        <Link key={tag} to="/" search={{ tag }} className="chip">
          {tag}
        </Link>
      ))}
      {dag.dynamic && <span className="chip outline">dynamic</span>}
      {dag.runtime !== 'spinner' && dag.runtime !== '' && <span className="chip outline">{dag.runtime}</span>}
      {dag.has_errors && (
        <Link to="/dags/$dagId/errors" params={{ dagId: dag.dag_id }} className="chip danger">
          <AlertTriangle size={11} /> file has errors
        </Link>
      )}
    </>
  );
}

function Pause({ dag }: { dag: DagDetails }) {
  const pause = usePauseDag();
  return (
    <label className="row" style={{ cursor: 'pointer' }}>
      <span className="muted">{dag.paused ? 'Paused' : 'Active'}</span>
      <Switch
        on={!dag.paused}
        disabled={!dag.can_edit}
        label={dag.paused ? `Unpause ${dag.dag_id}` : `Pause ${dag.dag_id}`}
        onChange={(on) => pause.mutate({ dagId: dag.dag_id, paused: !on })}
      />
    </label>
  );
}

function Facts({ dag }: { dag: DagDetails }) {
  const last = dag.recent_runs.at(-1);
  return (
    <dl className="facts-line">
      <div>
        <dt>Schedule</dt>
        <dd title={dag.schedule}>{dag.schedule_text || dag.schedule || '—'}</dd>
      </div>
      <div>
        <dt>Last run</dt>
        <dd>
          {last ? (
            <Link
              className="row"
              style={{ gap: 6 }}
              to="/dags/$dagId/runs/$runId"
              params={{ dagId: dag.dag_id, runId: last.run_id }}
            >
              <StateIcon state={last.state} /> {stateLabel(last.state)},{' '}
              <RelativeTime value={last.start_time ?? last.queued_time} />
            </Link>
          ) : (
            'Never'
          )}
        </dd>
      </div>
      <div>
        <dt>Next run</dt>
        <dd>
          {dag.next_run_time && !dag.paused ? (
            <RelativeTime value={dag.next_run_time} />
          ) : (
            <span>
              {sentence(dag.no_next_run_reason) || (dag.paused ? 'None while paused; unpause it' : 'None')}
            </span>
          )}
        </dd>
      </div>
      <div>
        <dt>Owner</dt>
        <dd>{dag.owner || '—'}</dd>
      </div>
      <div>
        <dt>Tier</dt>
        <dd>{dag.tier}</dd>
      </div>
      <div>
        <dt>Version</dt>
        <dd>
          <Hint text={`${dag.relative_path} · partition ${dag.partition}`}>
            <Link className="mono" to="/dags/$dagId/code" params={{ dagId: dag.dag_id }}>
              {dag.version.slice(0, 12)}
            </Link>
          </Hint>
        </dd>
      </div>
    </dl>
  );
}
