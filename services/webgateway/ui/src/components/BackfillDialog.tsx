import { History, Search } from 'lucide-react';
import { useState } from 'react';
import { datesProblem, taskList } from '../lib/backfill';
import { checkConf } from '../lib/conf';
import { useBackfill, type BackfillWish } from '../queries/backfills';
import type { Schemas } from '../queries/client';
import { StateIcon } from './StateIcon';
import { toastGood } from './Toasts';
import { Dialog, Problem } from './ui';

interface Props {
  dagId: string;
  paused: boolean;
  onClose: () => void;
  onCreated: (backfillId: string) => void;
}

const REPROCESS = [
  ['none', 'leave them as they are'],
  ['failed', 'run failed ones again'],
  ['completed', 'run all again that have ended'],
] as const;

/** Creates a backfill: what it would do is shown before anything is made. */
export function BackfillDialog({ dagId, paused, onClose, onCreated }: Props) {
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [order, setOrder] = useState<'forward' | 'backward'>('forward');
  const [reprocess, setReprocess] = useState<'none' | 'failed' | 'completed'>('none');
  const [most, setMost] = useState(10);
  const [tasks, setTasks] = useState('');
  const [conf, setConf] = useState('');
  const [quiet, setQuiet] = useState(false);
  const [override, setOverride] = useState(false);
  const [note, setNote] = useState('');
  const [partitionKey, setPartitionKey] = useState('');
  const plan = useBackfill(dagId);
  const create = useBackfill(dagId);
  const check = checkConf(conf);
  const problem = datesProblem(from, to);
  const ready = problem === '' && check.ok && most >= 1;
  const planned = plan.data?.plan;
  // A change of the wish makes the plan old.
  const change =
    <T,>(set: (value: T) => void) =>
    (value: T) => {
      set(value);
      plan.reset();
      create.reset();
    };
  const wish: BackfillWish = {
    from_date: from,
    to_date: to,
    run_order: order,
    reprocess_behavior: reprocess,
    max_active_runs: most,
    task_ids: taskList(tasks),
    conf: check.ok ? check.value : {},
    skip_callbacks: quiet,
    override_cap: override,
    note,
    partition_key: partitionKey,
  };
  const start = () =>
    create.mutate(wish, {
      onSuccess: (result) => {
        toastGood(`Backfill of ${dagId} created`, `${result.interval_count} intervals`);
        onCreated(result.backfill_id);
      },
    });
  const nothing =
    planned !== undefined && planned !== null && planned.create_count + planned.reprocess_count === 0;
  return (
    <Dialog
      open
      wide
      onClose={onClose}
      title={
        <>
          Backfill <span className="mono">{dagId}</span>
        </>
      }
      footer={
        <>
          <span className="muted" role="status" style={{ marginRight: 'auto' }}>
            {planned ? planText(planned) : problem}
          </span>
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          {planned ? (
            <button
              type="button"
              className="btn primary"
              disabled={!ready || nothing || create.isPending}
              onClick={start}
            >
              <History size={13} /> {create.isPending ? 'Creating' : 'Create backfill'}
            </button>
          ) : (
            <button
              type="button"
              className="btn primary"
              disabled={!ready || plan.isPending}
              onClick={() => plan.mutate({ ...wish, dry_run: true })}
            >
              <Search size={13} /> {plan.isPending ? 'Planning' : 'Preview'}
            </button>
          )}
        </>
      }
    >
      {paused && (
        <div className="notice warn">
          <span>This DAG is paused: the backfill is created and begins when the DAG is unpaused.</span>
        </div>
      )}
      <div className="backfill-form">
        <label className="labelled">
          <span>First date (UTC)</span>
          <input
            className="field"
            type="date"
            value={from}
            onChange={(event) => change(setFrom)(event.target.value)}
          />
        </label>
        <label className="labelled">
          <span>Last date, included</span>
          <input
            className="field"
            type="date"
            value={to}
            onChange={(event) => change(setTo)(event.target.value)}
          />
        </label>
        <label className="labelled">
          <span>Order</span>
          <select
            className="field"
            value={order}
            onChange={(event) => change(setOrder)(event.target.value as typeof order)}
          >
            <option value="forward">Oldest first</option>
            <option value="backward">Latest first</option>
          </select>
        </label>
        <label className="labelled">
          <span>Runs at once</span>
          <input
            className="field"
            type="number"
            min={1}
            max={1000}
            value={most}
            onChange={(event) => change(setMost)(Number(event.target.value))}
          />
        </label>
        <label className="labelled span">
          <span>Runs that exist already</span>
          <select
            className="field"
            value={reprocess}
            onChange={(event) => change(setReprocess)(event.target.value as typeof reprocess)}
          >
            {REPROCESS.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label className="labelled span">
          <span>Only these tasks, separated by commas or lines (empty: all)</span>
          <textarea
            className="field mono"
            rows={2}
            spellCheck={false}
            value={tasks}
            onChange={(event) => change(setTasks)(event.target.value)}
          />
        </label>
      </div>
      <details>
        <summary className="muted" style={{ cursor: 'pointer' }}>
          conf, partition key, alerts, cap, note
        </summary>
        <div style={{ display: 'grid', gap: 12, marginTop: 12 }}>
          <label className="labelled">
            <span>conf of all its runs, a JSON object</span>
            <textarea
              className="field mono"
              rows={2}
              spellCheck={false}
              value={conf}
              aria-invalid={!check.ok}
              onChange={(event) => change(setConf)(event.target.value)}
            />
            {!check.ok && (
              <span style={{ color: 'var(--danger)' }} role="alert">
                {check.message} {check.fix}
              </span>
            )}
          </label>
          <label className="labelled">
            <span>Partition key of all its runs (empty: as the schedule says)</span>
            <input
              className="field mono"
              maxLength={250}
              value={partitionKey}
              onChange={(event) => change(setPartitionKey)(event.target.value)}
            />
          </label>
          <label className="check">
            <input
              type="checkbox"
              checked={quiet}
              onChange={(event) => change(setQuiet)(event.target.checked)}
            />
            No alerts: call no callbacks of the DAG and its tasks
          </label>
          <label className="check">
            <input
              type="checkbox"
              checked={override}
              onChange={(event) => change(setOverride)(event.target.checked)}
            />
            Override the cap on the number of days (administrators)
          </label>
          <label className="labelled">
            <span>Note</span>
            <input className="field" value={note} onChange={(event) => change(setNote)(event.target.value)} />
          </label>
        </div>
      </details>
      {planned && <Plan plan={planned} />}
      {(plan.isError || create.isError) && <Problem error={create.error ?? plan.error} />}
    </Dialog>
  );
}

function planText(plan: Schemas['BackfillPlan']): string {
  const again = plan.reprocess_count > 0 ? `, runs ${plan.reprocess_count.toLocaleString()} again` : '';
  const runs = plan.create_count === 1 ? 'run' : 'runs';
  return `Makes ${plan.create_count.toLocaleString()} ${runs}${again}, skips ${plan.skip_count.toLocaleString()}`;
}

function Plan({ plan }: { plan: Schemas['BackfillPlan'] }) {
  return (
    <ul className="backfill-plan" tabIndex={0} aria-label="What it would do">
      {plan.intervals.slice(0, 200).map((interval) => (
        <li key={interval.logical_date} className="row">
          <StateIcon state={interval.action === 'skip' ? 'skipped' : 'queued'} />
          <span className="mono">{interval.logical_date.replace('T', ' ').replace(/(:00)?Z$/, '')}</span>
          <span>{{ create: 'new run', reprocess: 'run again', skip: 'skip' }[interval.action]}</span>
          <span className="faint truncate right">{interval.reason || interval.run_id}</span>
        </li>
      ))}
      {plan.interval_count > Math.min(200, plan.intervals.length) && (
        <li className="muted">
          and {(plan.interval_count - Math.min(200, plan.intervals.length)).toLocaleString()} more
        </li>
      )}
    </ul>
  );
}
