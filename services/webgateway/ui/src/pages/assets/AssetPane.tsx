import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ArrowRight, RefreshCw, X } from 'lucide-react';
import { useState } from 'react';
import { toastGood } from '../../components/Toasts';
import { Dialog, ExactTime, IconButton, Loading, Problem } from '../../components/ui';
import { checkConf } from '../../lib/conf';
import { formatDuration } from '../../lib/time';
import { actorName } from '../../lib/words';
import { assetEventsQuery, useUpdateAsset } from '../../queries/assets';
import type { Asset, AssetEventEntry, AssetUser } from '../../queries/client';
import { AssetLog } from './AssetLog';
import { Partitions } from './Partitions';
import { Watchers } from './Watchers';

/** One asset: who updates it, what it starts, and its updates with the runs that they led to. */
export function AssetPane({ asset, onClose }: { asset: Asset; onClose: () => void }) {
  const events = useInfiniteQuery(assetEventsQuery(asset.name));
  const [updating, setUpdating] = useState(false);
  const rows = events.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="asset-pane" aria-label={`Asset ${asset.name}`}>
      <header className="row">
        <h2 className="truncate">{asset.name}</h2>
        {!asset.alias && (
          <button type="button" className="btn" onClick={() => setUpdating(true)}>
            <RefreshCw size={13} /> Record an update
          </button>
        )}
        <IconButton label="Close" onClick={onClose}>
          <X size={16} />
        </IconButton>
      </header>
      {asset.uri && asset.uri !== asset.name && <p className="mono small muted">{asset.uri}</p>}
      {asset.freshness_seconds !== null && (
        <p
          className={asset.stale ? undefined : 'muted'}
          style={asset.stale ? { color: 'var(--warn)' } : undefined}
        >
          {asset.stale ? 'Stale' : 'Fresh'}
          {asset.fresh_until ? (
            <>
              {asset.stale ? ' since ' : ' until '}
              <ExactTime value={asset.fresh_until} />
            </>
          ) : (
            ': it was never updated'
          )}
          , {formatDuration(asset.freshness_seconds)} after an update.
        </p>
      )}
      {asset.stale_callback && (
        <div className="muted">
          Its callback in{' '}
          <Link className="mono" to="/dags/$dagId" params={{ dagId: asset.stale_callback.dag_id }}>
            {asset.stale_callback.dag_id}
          </Link>{' '}
          for <ExactTime value={asset.stale_callback.stale_time} />: {word(asset.stale_callback.state)}
          {asset.stale_callback.message && `, ${asset.stale_callback.message}`}
          <AssetLog name={asset.name} />
        </div>
      )}
      <Lineage asset={asset} />
      {!asset.alias && (
        <>
          <Watchers name={asset.name} watchers={asset.watchers} />
          <Partitions name={asset.name} />
          <h3>Updates</h3>
          {events.isPending && <Loading rows={3} label="Loading updates" />}
          {events.isError && <Problem error={events.error} retry={() => void events.refetch()} />}
          {events.data && rows.length === 0 && <p className="muted">It was never updated.</p>}
          <ol className="asset-events">
            {rows.map((event) => (
              <Update key={event.sequence} event={event} />
            ))}
          </ol>
          {events.hasNextPage && (
            <button type="button" className="btn" onClick={() => void events.fetchNextPage()}>
              Older
            </button>
          )}
        </>
      )}
      {updating && <UpdateDialog name={asset.name} onClose={() => setUpdating(false)} />}
    </section>
  );
}

/** Producers → the asset → what it starts, and who reads it. */
function Lineage({ asset }: { asset: Asset }) {
  return (
    <div className="lineage" role="group" aria-label="Lineage">
      <Users title="Updated by" users={asset.producers} none="no task" />
      <ArrowRight size={18} aria-hidden="true" />
      <div className="lineage-asset">{asset.name}</div>
      <ArrowRight size={18} aria-hidden="true" />
      <div>
        <Users title="Starts" users={asset.consumers} none="no DAG" />
        {asset.readers.length > 0 && <Users title="Read by" users={asset.readers} none="" />}
      </div>
    </div>
  );
}

function Users({ title, users, none }: { title: string; users: AssetUser[]; none: string }) {
  return (
    <div className="lineage-side">
      <span className="faint small">{title}</span>
      {users.length === 0 && <span className="muted">{none}</span>}
      <ul>
        {users.map((user) => (
          <li key={`${user.dag_id}/${user.task_id ?? ''}`}>
            <Link to="/dags/$dagId" params={{ dagId: user.dag_id }} className="mono">
              {user.dag_id}
            </Link>
            {user.task_id && <span className="mono faint"> {user.task_id}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}

export function Update({ event }: { event: AssetEventEntry }) {
  const extra = Object.keys(event.extra).length > 0 ? JSON.stringify(event.extra) : '';
  return (
    <li>
      <span className="faint">#{event.sequence}</span> <ExactTime value={event.time} />{' '}
      <Producer event={event} />
      {event.partition_key && <span className="chip">{event.partition_key}</span>}
      {event.aliases.length > 0 && <span className="muted"> through {event.aliases.join(', ')}</span>}
      {extra && <code className="asset-extra">{extra}</code>}
      {event.runs.length > 0 && (
        <ul className="asset-runs">
          {event.runs.map((run) => (
            <li key={`${run.dag_id}/${run.run_id}`}>
              <ArrowRight size={12} aria-label="led to" />{' '}
              <Link
                className="mono"
                to="/dags/$dagId/runs/$runId"
                params={{ dagId: run.dag_id, runId: run.run_id }}
              >
                {run.dag_id} {run.run_id}
              </Link>
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

/** The task, watcher or person that made an update. */
export function Producer({ event }: { event: AssetEventEntry }) {
  const { producer } = event;
  if (event.watcher) return <span>by watcher {event.watcher} </span>;
  if (!producer) return <span>by {actorName(event.actor)} </span>;
  return (
    <Link
      className="mono"
      to="/dags/$dagId/runs/$runId"
      params={{ dagId: producer.dag_id, runId: producer.run_id }}
      search={{ task: producer.task_id }}
    >
      {producer.dag_id} {producer.task_id}{' '}
    </Link>
  );
}

function word(state: string) {
  return { success: 'done', failed: 'failed', up_for_retry: 'failed, is tried again' }[state] ?? state;
}

function UpdateDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const [text, setText] = useState('');
  const [key, setKey] = useState('');
  const update = useUpdateAsset(name);
  const check = checkConf(text);
  const send = () => {
    if (!check.ok) return;
    update.mutate(
      { extra: check.value, partition_key: key },
      {
        onSuccess: () => {
          onClose();
          toastGood(`${name} updated`, 'DAGs that wait for it go on.');
        },
      },
    );
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Record an update of ${name}`}
      footer={
        <>
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={!check.ok || update.isPending}
            onClick={send}
          >
            Record
          </button>
        </>
      }
    >
      <p className="muted">DAGs that wait for it see an update, as if a task had made it.</p>
      <label className="labelled">
        <span>extra, a JSON object (may stay empty)</span>
        <textarea
          className="field mono"
          rows={4}
          spellCheck={false}
          value={text}
          aria-invalid={!check.ok}
          onChange={(event) => setText(event.target.value)}
        />
        {!check.ok && (
          <span style={{ color: 'var(--danger)' }} role="alert">
            {check.message} {check.fix}
          </span>
        )}
      </label>
      <label className="labelled">
        <span>Partition key (may stay empty)</span>
        <input
          className="field mono"
          maxLength={250}
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
      </label>
      {update.isError && <Problem error={update.error} />}
    </Dialog>
  );
}
