/** Where is my DAG, did it run, when does it run next: all DAGs in one dense table. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { AlertTriangle, FolderOpen, Play, SearchX } from 'lucide-react';
import { useCallback, useMemo, useState } from 'react';
import { DataTable, type Column } from '../../components/DataTable';
import { RunStrip } from '../../components/RunStrip';
import { StateIcon } from '../../components/StateIcon';
import { TriggerDialog } from '../../components/TriggerDialog';
import { Empty, Hint, IconButton, Loading, Problem, RelativeTime, Switch } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { stateLabel } from '../../lib/states';
import { sentence } from '../../lib/words';
import { dagListQuery, usePauseDag, type DagFilters } from '../../queries/dags';
import type { DagSummary } from '../../queries/client';
import { HomeFilters } from './HomeFilters';
import './home.css';

export function HomePage() {
  const search = useSearch();
  const patch = usePatchSearch();
  const navigate = useNavigate();
  const pause = usePauseDag();
  const [triggering, setTriggering] = useState<DagSummary | null>(null);
  const filters: DagFilters = {
    query: search.q,
    owner: search.owner,
    tier: search.tier,
    tag: search.tag,
    paused: search.paused,
    state: search.state,
    sort: search.sort,
  };
  const list = useInfiniteQuery(dagListQuery(filters));
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const total = list.data?.pages[0]?.total;
  const { hasNextPage, isFetching, fetchNextPage } = list;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  const { mutate: setPaused } = pause;
  const columns = useMemo(
    () =>
      dagColumns(
        (dag, paused) => setPaused({ dagId: dag.dag_id, paused }),
        setTriggering,
        (tag) => patch({ tag }),
      ),
    [setPaused, patch],
  );
  const filtered = Object.entries(filters).some(([name, value]) => name !== 'sort' && value !== undefined);

  return (
    <>
      <h1 className="sr-only">DAGs</h1>
      <HomeFilters total={total} rows={rows} />
      <div className="page-table">
        {list.isPending ? (
          <Loading rows={16} label="Loading DAGs" />
        ) : list.isError && rows.length === 0 ? (
          <div style={{ padding: 16 }}>
            <Problem error={list.error} retry={() => void list.refetch()} />
          </div>
        ) : (
          <DataTable
            label="DAGs"
            keysLabel="DAGs"
            columns={columns}
            rows={rows}
            rowKey={(dag) => dag.dag_id}
            rowHeight={40}
            sort={search.sort}
            onSort={(sort) => patch({ sort })}
            onEnd={onEnd}
            onOpen={(dag) => void navigate({ to: '/dags/$dagId', params: { dagId: dag.dag_id } })}
            rowClass={(dag) => (dag.paused ? 'dag-paused' : '')}
            rowKeys={[
              {
                keys: 'p',
                label: 'Pause or unpause the row',
                run: (dag) => setPaused({ dagId: dag.dag_id, paused: !dag.paused }),
              },
              { keys: 'r', label: 'Trigger a run of the row', run: setTriggering },
            ]}
            empty={filtered ? <NoMatch clear={() => void navigate({ to: '/' })} /> : <NoDags />}
          />
        )}
      </div>
      {triggering && (
        <TriggerDialog
          dagId={triggering.dag_id}
          paused={triggering.paused}
          onClose={() => setTriggering(null)}
        />
      )}
    </>
  );
}

function NoMatch({ clear }: { clear: () => void }) {
  return (
    <Empty title="No DAG matches these filters" icon={<SearchX size={28} strokeWidth={1.5} />}>
      <p>Check the spelling, or look among the parse errors: a file that cannot be read has no DAG.</p>
      <div className="row">
        <button type="button" className="btn" onClick={clear}>
          Clear the filters
        </button>
        <Link className="btn" to="/parse-errors">
          Parse errors
        </Link>
      </div>
    </Empty>
  );
}

function NoDags() {
  return (
    <Empty title="No DAGs yet" icon={<FolderOpen size={28} strokeWidth={1.5} />}>
      <p>
        Put a Python file with a <code>DAG</code> into a bundle’s folder; it appears here within seconds. A
        file that cannot be read appears among the{' '}
        <Link className="link" to="/parse-errors">
          parse errors
        </Link>
        .
      </p>
    </Empty>
  );
}

function dagColumns(
  onPause: (dag: DagSummary, paused: boolean) => void,
  onTrigger: (dag: DagSummary) => void,
  onTag: (tag: string) => void,
): Column<DagSummary>[] {
  return [
    {
      id: 'paused',
      header: <span className="sr-only">Active</span>,
      name: 'Active',
      width: '28px',
      cell: (dag) => (
        <Switch
          on={!dag.paused}
          disabled={!dag.can_edit}
          label={dag.paused ? `Unpause ${dag.dag_id}` : `Pause ${dag.dag_id}`}
          onChange={(on) => onPause(dag, !on)}
        />
      ),
    },
    {
      id: 'dag_id',
      header: 'DAG',
      width: 'minmax(168px, 1.5fr)',
      sort: true,
      cell: (dag) => (
        <div className="dag-name">
          <div className="row" style={{ gap: 6 }}>
            <Link className="truncate" to="/dags/$dagId" params={{ dagId: dag.dag_id }}>
              <strong title={dag.dag_id}>{dag.dag_id}</strong>
            </Link>
            {dag.has_errors && (
              <Link to="/dags/$dagId/errors" params={{ dagId: dag.dag_id }} className="chip danger">
                <AlertTriangle size={11} /> error
              </Link>
            )}
            {dag.dynamic && <span className="chip outline">dynamic</span>}
            {dag.runtime !== 'spinner' && dag.runtime !== '' && (
              <span className="chip outline">{dag.runtime}</span>
            )}
          </div>
          <div className="row small faint" style={{ gap: 4 }}>
            {dag.tags.slice(0, 4).map((tag) => (
              <button key={tag} type="button" className="tag" onClick={() => onTag(tag)}>
                {tag}
              </button>
            ))}
            {dag.tags.length > 4 && <span>+{dag.tags.length - 4}</span>}
            {dag.tags.length === 0 && <span className="truncate">{dag.description}</span>}
          </div>
        </div>
      ),
    },
    {
      id: 'owner',
      header: 'Owner',
      width: 'minmax(96px, 0.8fr)',
      extra: true,
      sort: true,
      cell: (dag) => <span className="truncate muted">{dag.owner || '—'}</span>,
    },
    {
      id: 'tier',
      header: 'Tier',
      width: '44px',
      extra: true,
      sort: true,
      cell: (dag) => <span className="muted">{dag.tier}</span>,
    },
    {
      id: 'schedule',
      header: 'Schedule',
      width: 'minmax(150px, 1fr)',
      extra: true,
      cell: (dag) => (
        <span className="truncate muted" title={dag.schedule}>
          {dag.schedule_text || dag.schedule || '—'}
        </span>
      ),
    },
    {
      id: 'runs',
      header: 'Latest runs',
      width: '150px',
      extra: true,
      cell: (dag) => <RunStrip runs={dag.recent_runs} />,
    },
    {
      id: 'last_run',
      header: 'Last run',
      width: 'minmax(102px, 128px)',
      sort: true,
      cell: (dag) => <LastRun dag={dag} />,
    },
    {
      id: 'next_run_time',
      header: 'Next run',
      width: 'minmax(124px, 0.8fr)',
      extra: true,
      sort: true,
      cell: (dag) => <NextRun dag={dag} />,
    },
    {
      id: 'actions',
      header: <span className="sr-only">Actions</span>,
      name: 'Actions',
      width: '28px',
      cell: (dag) => (
        <IconButton label={`Trigger ${dag.dag_id}`} disabled={!dag.can_edit} onClick={() => onTrigger(dag)}>
          <Play size={14} />
        </IconButton>
      ),
    },
  ];
}

function LastRun({ dag }: { dag: DagSummary }) {
  const run = dag.recent_runs.at(-1);
  if (!run) return <span className="faint">Never</span>;
  return (
    <Link
      className="row"
      style={{ gap: 6 }}
      to="/dags/$dagId/runs/$runId"
      params={{ dagId: dag.dag_id, runId: run.run_id }}
      title={stateLabel(run.state)}
    >
      <StateIcon state={run.state} label />
      <RelativeTime value={run.start_time ?? run.queued_time} every={5} />
      {dag.active_runs > 1 && <span className="chip">{dag.active_runs} active</span>}
    </Link>
  );
}

function NextRun({ dag }: { dag: DagSummary }) {
  if (dag.next_run_time && !dag.paused) return <RelativeTime value={dag.next_run_time} every={5} />;
  // The schedule's own column says so already.
  const unscheduled = dag.schedule_text.startsWith('No schedule');
  const reason = dag.paused ? 'Paused' : unscheduled ? '—' : sentence(dag.no_next_run_reason) || 'None';
  return (
    <Hint
      text={
        sentence(dag.no_next_run_reason) ||
        (dag.paused ? 'The DAG is paused; unpause it to have runs again.' : 'No run is due.')
      }
    >
      <span className="truncate faint">{reason}</span>
    </Hint>
  );
}
