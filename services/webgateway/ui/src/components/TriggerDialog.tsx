import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { Play } from 'lucide-react';
import { useMemo, useState } from 'react';
import { checkConf } from '../lib/conf';
import { paramsOf, parse, problemsOf, startOf } from '../lib/params';
import { dagQuery } from '../queries/dags';
import { useTrigger } from '../queries/runs';
import './backfills.css';
import { ParamForm } from './ParamForm';
import { toastGood } from './Toasts';
import { Dialog, Problem } from './ui';

const RUN_ID = /^[A-Za-z0-9_.~:+-]{1,250}$/;

function without<T>(values: Record<string, T>, name: string): Record<string, T> {
  return Object.fromEntries(Object.entries(values).filter(([other]) => other !== name));
}

interface Props {
  dagId: string;
  paused: boolean;
  onClose: () => void;
}

/** Starts a run by hand: a form of the DAG's parameters, or its conf as JSON. Both are checked while they are filled. */
export function TriggerDialog({ dagId, paused, onClose }: Props) {
  const navigate = useNavigate();
  const trigger = useTrigger(dagId);
  const { data: dag } = useQuery(dagQuery(dagId));
  const [typed, setTyped] = useState<string | null>(null);
  const [runId, setRunId] = useState('');
  const [date, setDate] = useState('');
  const [note, setNote] = useState('');
  const [partitionKey, setPartitionKey] = useState('');
  const [stay, setStay] = useState(false);
  const [asJson, setAsJson] = useState(false);
  const [drafts, setDrafts] = useState<Record<string, string>>({});
  const params = useMemo(() => paramsOf(dag?.params ?? {}), [dag]);
  const prefill = params.length > 0 ? JSON.stringify(startOf(params), null, 2) : '';
  const text = typed ?? prefill;
  const check = checkConf(text);
  const conf = check.ok ? check.value : {};
  const problems = problemsOf(params, conf);
  for (const param of params) {
    const draft = drafts[param.name];
    const parsed = draft === undefined ? null : parse(param, draft);
    if (parsed && !parsed.ok) problems[param.name] = parsed.message;
  }
  const fits = check.ok && Object.keys(problems).length === 0;
  const form = params.length > 0 && !asJson && check.ok;
  const runIdOk = runId === '' || RUN_ID.test(runId);

  const start = () => {
    if (!check.ok || !fits || !runIdOk) return;
    trigger.mutate(
      {
        conf: check.value,
        run_id: runId || null,
        logical_date: date ? new Date(`${date}Z`).toISOString() : null,
        note,
        partition_key: partitionKey,
      },
      {
        onSuccess: (result) => {
          onClose();
          toastGood(`Run of ${dagId} created`, result.run_id);
          if (!stay && result.run_id)
            void navigate({ to: '/dags/$dagId/runs/$runId', params: { dagId, runId: result.run_id } });
        },
      },
    );
  };

  return (
    <Dialog
      open
      onClose={onClose}
      title={
        <>
          Trigger <span className="mono">{dagId}</span>
        </>
      }
      footer={
        <>
          <label className="check" style={{ marginRight: 'auto' }}>
            <input type="checkbox" checked={stay} onChange={(event) => setStay(event.target.checked)} />
            Stay on this page
          </label>
          <button type="button" className="btn" onClick={onClose}>
            Cancel
          </button>
          <button
            type="button"
            className="btn primary"
            disabled={!fits || !runIdOk || trigger.isPending}
            onClick={start}
          >
            <Play size={13} /> {trigger.isPending ? 'Triggering' : 'Trigger'}
          </button>
        </>
      }
    >
      {paused && (
        <div className="notice warn">
          <span>This DAG is paused: the run is created and waits until the DAG is unpaused.</span>
        </div>
      )}
      {params.length > 0 && (
        <div className="row" role="group" aria-label="View">
          <button
            type="button"
            className={form ? 'btn primary' : 'btn'}
            aria-pressed={form}
            disabled={!check.ok}
            onClick={() => setAsJson(false)}
          >
            Form
          </button>
          <button
            type="button"
            className={form ? 'btn' : 'btn primary'}
            aria-pressed={!form}
            onClick={() => setAsJson(true)}
          >
            JSON
          </button>
        </div>
      )}
      {form ? (
        <ParamForm
          params={params}
          conf={conf}
          drafts={drafts}
          problems={problems}
          onChange={(name, value, draft) => {
            setDrafts({ ...without(drafts, name), ...(draft === null ? {} : { [name]: draft }) });
            const changed = value === undefined ? without(conf, name) : { ...conf, [name]: value };
            setTyped(JSON.stringify(changed, null, 2));
          }}
        />
      ) : (
        <>
          <label className="labelled">
            <span>conf, a JSON object (may stay empty)</span>
            <textarea
              className="field mono"
              rows={6}
              spellCheck={false}
              value={text}
              placeholder={'{"day": "2026-11-26", "full": false}'}
              aria-invalid={!fits}
              aria-describedby="conf-help"
              onChange={(event) => {
                setDrafts({});
                setTyped(event.target.value);
              }}
              onKeyDown={(event) => {
                if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) start();
              }}
            />
          </label>
          <div id="conf-help" className="small muted" style={{ marginTop: -8, display: 'grid', gap: 4 }}>
            {!check.ok && (
              <span style={{ color: 'var(--danger)' }} role="alert">
                {check.message} {check.fix}
              </span>
            )}
            {check.ok &&
              Object.entries(problems).map(([name, problem]) => (
                <span key={name} style={{ color: 'var(--danger)' }} role="alert">
                  <code>{name}</code>: {problem}
                </span>
              ))}
            {fits && (
              <span style={{ color: 'var(--ok)' }}>
                {Object.keys(conf).length === 0 ? 'No conf: tasks see an empty object.' : 'Valid.'}
              </span>
            )}
            <span>
              Right: <code>{'{"day": "2026-11-26"}'}</code> Wrong: <code>[1, 2]</code>,{' '}
              <code>{"{'day': 1}"}</code>. A template reads it as <code>{'{{ dag_run.conf["day"] }}'}</code>.
              At most 1 MiB.
            </span>
          </div>
        </>
      )}
      <details>
        <summary className="muted" style={{ cursor: 'pointer' }}>
          Run id, logical date, partition key, note
        </summary>
        <div style={{ display: 'grid', gap: 12, marginTop: 12 }}>
          <label className="labelled">
            <span>Run id (made when empty)</span>
            <input
              className="field mono"
              value={runId}
              aria-invalid={!runIdOk}
              onChange={(event) => setRunId(event.target.value)}
            />
            {!runIdOk && (
              <span style={{ color: 'var(--danger)' }}>
                Letters, digits and _ . ~ : + - only, at most 250 characters.
              </span>
            )}
          </label>
          <label className="labelled">
            <span>Logical date (UTC)</span>
            <input
              className="field"
              type="datetime-local"
              step={1}
              value={date}
              onChange={(event) => setDate(event.target.value)}
            />
          </label>
          <label className="labelled">
            <span>Partition key, of a run about one partition of its assets</span>
            <input
              className="field mono"
              maxLength={250}
              value={partitionKey}
              onChange={(event) => setPartitionKey(event.target.value)}
            />
          </label>
          <label className="labelled">
            <span>Note</span>
            <input className="field" value={note} onChange={(event) => setNote(event.target.value)} />
          </label>
        </div>
      </details>
      {trigger.isError && <Problem error={trigger.error} />}
    </Dialog>
  );
}
