/** Backfills, newest first, with how far each is and what can be done with it. */
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ChevronDown, ChevronRight, Pause, Play, X } from 'lucide-react';
import { useMemo, useState } from 'react';
import { actionsOf, endedCount, PARTS, partsOf, type Backfill } from '../lib/backfill';
import { actorName, sentence } from '../lib/words';
import { backfillsQuery, intervalsQuery, useChangeBackfill } from '../queries/backfills';
import './backfills.css';
import { StateIcon } from './StateIcon';
import { Dialog, Empty, IconButton, Loading, Problem, RelativeTime } from './ui';

export function BackfillTable({ dagId }: { dagId?: string }) {
  const list = useInfiniteQuery(backfillsQuery(dagId));
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.items) ?? [], [list.data]);
  const [open, setOpen] = useState<string>();
  if (list.isPending) return <Loading rows={6} label="Loading backfills" />;
  if (list.isError && rows.length === 0)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={list.error} retry={() => void list.refetch()} />
      </div>
    );
  if (rows.length === 0)
    return (
      <Empty title="No backfills yet">
        <p>A backfill makes the runs of past dates: open a DAG and choose Backfill.</p>
      </Empty>
    );
  return (
    <div className="backfills">
      <ul aria-label="Backfills">
        {rows.map((backfill) => {
          const key = `${backfill.dag_id}/${backfill.backfill_id}`;
          return (
            <Row
              key={key}
              backfill={backfill}
              named={!dagId}
              open={open === key}
              onToggle={() => setOpen(open === key ? undefined : key)}
            />
          );
        })}
      </ul>
      {list.hasNextPage && (
        <button
          type="button"
          className="btn"
          disabled={list.isFetching}
          onClick={() => void list.fetchNextPage()}
        >
          Show older ones
        </button>
      )}
    </div>
  );
}

interface RowProps {
  backfill: Backfill;
  named: boolean;
  open: boolean;
  onToggle: () => void;
}

function Row({ backfill, named, open, onToggle }: RowProps) {
  const change = useChangeBackfill();
  const [cancelling, setCancelling] = useState(false);
  const actions = actionsOf(backfill.state);
  const target = { dagId: backfill.dag_id, backfillId: backfill.backfill_id };
  return (
    <li className="backfill">
      <div className="row wrap">
        <IconButton
          label={open ? 'Hide its intervals' : 'Show its intervals'}
          onClick={onToggle}
          aria-expanded={open}
        >
          {open ? <ChevronDown size={15} /> : <ChevronRight size={15} />}
        </IconButton>
        <strong>{sentence(backfill.state)}</strong>
        {named && (
          <Link className="link" to="/dags/$dagId/backfills" params={{ dagId: backfill.dag_id }}>
            {backfill.dag_id}
          </Link>
        )}
        <span className="mono">
          {backfill.from_date.slice(0, 10)} to {backfill.to_date.slice(0, 10)}
        </span>
        <span className="mono faint">{backfill.backfill_id}</span>
        <span className="muted">
          {actorName(backfill.actor)}, <RelativeTime value={backfill.created_time} />
        </span>
        <span className="right row">
          {actions.includes('pause') && (
            <button
              type="button"
              className="btn small"
              disabled={change.isPending}
              onClick={() => change.mutate({ ...target, state: 'paused' })}
            >
              <Pause size={12} /> Pause
            </button>
          )}
          {actions.includes('resume') && (
            <button
              type="button"
              className="btn small"
              disabled={change.isPending}
              onClick={() => change.mutate({ ...target, state: 'running' })}
            >
              <Play size={12} /> Resume
            </button>
          )}
          {actions.includes('cancel') && (
            <button type="button" className="btn small" onClick={() => setCancelling(true)}>
              <X size={12} /> Cancel
            </button>
          )}
        </span>
      </div>
      <Progress backfill={backfill} />
      {(backfill.note || backfill.task_ids.length > 0) && (
        <p className="muted small truncate">
          {[backfill.note, backfill.task_ids.length > 0 && `only ${backfill.task_ids.join(', ')}`]
            .filter(Boolean)
            .join(' · ')}
        </p>
      )}
      {open && <Intervals dagId={backfill.dag_id} backfillId={backfill.backfill_id} />}
      {cancelling && (
        <CancelDialog
          backfill={backfill}
          onClose={() => setCancelling(false)}
          onCancel={(stopRuns) => {
            setCancelling(false);
            change.mutate({ ...target, state: 'cancelled', stop_runs: stopRuns });
          }}
        />
      )}
    </li>
  );
}

export function Progress({ backfill }: { backfill: Backfill }) {
  const parts = partsOf(backfill);
  const all = Math.max(1, backfill.interval_count);
  const text = PARTS.filter((part) => parts[part] > 0)
    .map((part) => `${parts[part].toLocaleString()} ${part}`)
    .join(', ');
  return (
    <div className="row">
      <div
        className="backfill-bar grow"
        role="progressbar"
        aria-label={`Progress of backfill ${backfill.backfill_id}`}
        aria-valuemin={0}
        aria-valuemax={backfill.interval_count}
        aria-valuenow={endedCount(backfill)}
        aria-valuetext={text}
        title={text}
      >
        {PARTS.map((part) => (
          <i key={part} className={`part-${part}`} style={{ width: `${(100 * parts[part]) / all}%` }} />
        ))}
      </div>
      <span className="muted small">
        {endedCount(backfill).toLocaleString()} of {backfill.interval_count.toLocaleString()}
      </span>
    </div>
  );
}

function Intervals({ dagId, backfillId }: { dagId: string; backfillId: string }) {
  const query = useQuery(intervalsQuery(dagId, backfillId));
  if (query.isPending) return <Loading rows={3} label="Loading intervals" />;
  if (query.isError) return <Problem error={query.error} retry={() => void query.refetch()} />;
  return (
    <ul className="backfill-plan" tabIndex={0} aria-label="Intervals">
      {query.data.items.length === 0 && <li className="muted">No interval has been taken up yet.</li>}
      {query.data.items.map((interval) => (
        <li key={interval.logical_date} className="row">
          <StateIcon
            state={interval.action === 'skip' ? 'skipped' : (interval.run_state ?? 'queued')}
            label
          />
          <span className="mono">{interval.logical_date.replace('T', ' ').replace(/(:00)?Z$/, '')}</span>
          {interval.run_id && interval.action !== 'skip' ? (
            <Link
              className="link mono truncate right"
              to="/dags/$dagId/runs/$runId"
              params={{ dagId, runId: interval.run_id }}
            >
              {interval.run_id}
            </Link>
          ) : (
            <span className="faint truncate right">{interval.reason}</span>
          )}
        </li>
      ))}
      {query.data.next_cursor && (
        <li className="muted">and {(query.data.total - query.data.items.length).toLocaleString()} more</li>
      )}
    </ul>
  );
}

interface CancelProps {
  backfill: Backfill;
  onClose: () => void;
  onCancel: (stopRuns: boolean) => void;
}

function CancelDialog({ backfill, onClose, onCancel }: CancelProps) {
  const running = backfill.run_counts.running ?? 0;
  const [stop, setStop] = useState(false);
  return (
    <Dialog
      open
      onClose={onClose}
      title="Cancel the backfill"
      description="No further runs are made, and its queued runs end as failed. This can't be undone."
      footer={
        <>
          <button type="button" className="btn" onClick={onClose}>
            Keep it
          </button>
          <button type="button" className="btn danger" onClick={() => onCancel(stop)}>
            <X size={13} /> Cancel the backfill
          </button>
        </>
      }
    >
      <label className="check">
        <input type="checkbox" checked={stop} onChange={(event) => setStop(event.target.checked)} />
        Also stop {running === 1 ? 'the run' : `the ${running} runs`} in progress
      </label>
    </Dialog>
  );
}
