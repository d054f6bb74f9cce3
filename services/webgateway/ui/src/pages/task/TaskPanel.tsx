/** One task instance: its tries, what each stage took, why it failed, its log, and what to do next. */
import { useQuery } from '@tanstack/react-query';
import { Clock, FileText } from 'lucide-react';
import { useState } from 'react';
import { DecisionCard } from '../../components/DecisionCard';
import { MemoryDialog, Peaks } from '../../components/Memory';
import { StateIcon, StateLabel } from '../../components/StateIcon';
import { Duration, Empty, Loading, Problem, RelativeTime } from '../../components/ui';
import { Why } from '../../components/Why';
import { memoryText } from '../../lib/memory';
import { outcomeLabel } from '../../lib/outcomes';
import { usePatchSearch, useSearch } from '../../lib/search';
import { isFinished, stateLabel } from '../../lib/states';
import { formatBytes, formatDuration } from '../../lib/time';
import type { TaskInstanceDetails, Try } from '../../queries/client';
import { decisionQuery } from '../../queries/decisions';
import { memoryQuery } from '../../queries/memory';
import { taskQuery, xcomQuery, type TaskKey } from '../../queries/tasks';
import { DiagnosisCard } from './DiagnosisCard';
import { LogView } from './LogView';
import { Stages } from './Stages';
import { TaskActions } from './TaskActions';
import './task.css';

const TABS = [
  ['log', 'Log'],
  ['rendered', 'Rendered'],
  ['xcom', 'XCom'],
  ['details', 'Details'],
] as const;

export function TaskPanel({ taskKey }: { taskKey: TaskKey }) {
  const search = useSearch();
  const patch = usePatchSearch();
  const query = useQuery(taskQuery(taskKey));
  if (query.isPending) return <Loading label="Loading the task" />;
  if (query.isError && !query.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={query.error} retry={() => void query.refetch()} />
      </div>
    );
  const task = query.data;
  const attempt = task.tries.find((one) => one.try_number === search.try) ?? task.tries.at(-1);
  const tab = TABS.some(([id]) => id === search.tab) ? search.tab : 'log';
  const showLine = (line: number) => patch({ tab: undefined, line, find: undefined, level: undefined });

  return (
    <div className="task-panel">
      <div className="task-status">
        <StateLabel state={task.state} marked={task.marked} />
        {attempt && (
          <span className="muted">
            <Duration
              start={attempt.start_time}
              end={attempt.end_time}
              seconds={attempt.duration_seconds}
              running={!isFinished(attempt.state)}
            />
          </span>
        )}
        {(attempt?.start_time ?? task.start_time) && (
          <span className="faint">
            started <RelativeTime value={attempt?.start_time ?? task.start_time} />
          </span>
        )}
        {task.next_time && !isFinished(task.state) && (
          <span className="muted row" style={{ gap: 4 }}>
            <Clock size={12} /> next try <RelativeTime value={task.next_time} />
          </span>
        )}
        <span className="right" />
        <TaskActions task={task} />
      </div>
      {!isFinished(task.state) && (
        <div className="task-why">
          <Why
            key={`${taskKey.taskId}/${taskKey.mapIndex}`}
            subject={taskKey}
            state={`${task.state} ${task.try_number}`}
            open={task.state !== 'running'}
          />
        </div>
      )}
      {task.state === 'deferred' && <Asked taskKey={taskKey} />}
      {task.reason && !attempt?.diagnosis && <p className="task-reason muted">{task.reason}</p>}
      {task.tries.length > 1 && (
        <div className="tries" role="group" aria-label="Tries">
          {task.tries.map((one) => (
            <button
              key={one.try_number}
              type="button"
              className="btn ghost small"
              aria-pressed={one === attempt}
              title={one.outcome ? outcomeLabel(one.outcome) : stateLabel(one.state)}
              onClick={() =>
                patch({ try: one === task.tries.at(-1) ? undefined : one.try_number, line: undefined })
              }
            >
              <StateIcon state={one.state} size={12} label />
              Try {one.try_number}
            </button>
          ))}
        </div>
      )}
      {attempt && attempt.stages.length > 0 && <Stages stages={attempt.stages} />}
      {attempt?.diagnosis ? (
        <DiagnosisCard diagnosis={attempt.diagnosis} message={attempt.message} onLine={showLine} />
      ) : (
        attempt?.message &&
        attempt.state === 'failed' && <p className="task-message mono">{attempt.message}</p>
      )}
      <div className="tabs" role="tablist" aria-label="Parts of the try" style={{ padding: '0 8px' }}>
        {TABS.map(([id, label]) => (
          <button
            key={id}
            type="button"
            role="tab"
            id={`task-tab-${id}`}
            aria-selected={tab === id}
            aria-controls="task-tab-panel"
            className="tab"
            data-active={tab === id}
            onClick={() => patch({ tab: id === 'log' ? undefined : id })}
          >
            {label}
          </button>
        ))}
      </div>
      <div id="task-tab-panel" role="tabpanel" aria-labelledby={`task-tab-${tab}`} className="task-tab">
        {!attempt && tab !== 'details' ? (
          <NotStarted />
        ) : (
          <>
            {tab === 'log' && attempt && (
              <LogView
                key={attempt.try_number}
                taskKey={taskKey}
                attempt={attempt}
                live={!isFinished(attempt.state) && attempt.end_time === null}
              />
            )}
            {tab === 'rendered' && attempt && <Rendered attempt={attempt} />}
            {tab === 'xcom' && <XCom taskKey={taskKey} />}
            {tab === 'details' && <Details task={task} attempt={attempt} />}
          </>
        )}
      </div>
    </div>
  );
}

function NotStarted() {
  return (
    <Empty title="No try yet" icon={<FileText size={28} strokeWidth={1.5} />}>
      <p>It has not been started.</p>
    </Empty>
  );
}

function Rendered({ attempt }: { attempt: Try }) {
  const fields = Object.entries(attempt.rendered);
  if (fields.length === 0)
    return (
      <Empty title="No templates">
        <p>This operator has no template fields, or they were not rendered before the try ended.</p>
      </Empty>
    );
  return (
    <div className="tab-scroll" tabIndex={0} role="group" aria-label="Rendered templates">
      {fields.map(([name, value]) => (
        <section key={name}>
          <h2 className="label mono">{name}</h2>
          <pre className="codeblock wrap">
            {typeof value === 'string' ? value : JSON.stringify(value, null, 2)}
          </pre>
        </section>
      ))}
    </div>
  );
}

function XCom({ taskKey }: { taskKey: TaskKey }) {
  const xcom = useQuery(xcomQuery(taskKey));
  if (xcom.isPending) return <Loading rows={4} />;
  if (xcom.isError)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={xcom.error} retry={() => void xcom.refetch()} />
      </div>
    );
  if (xcom.data.length === 0)
    return (
      <Empty title="No XComs">
        <p>The task has returned and pushed nothing.</p>
      </Empty>
    );
  return (
    <div className="tab-scroll" tabIndex={0} role="group" aria-label="XComs">
      {xcom.data.map((entry) => (
        <section key={entry.key}>
          <div className="row">
            <h2 className="label mono">{entry.key}</h2>
            <span className="faint small">{formatBytes(entry.size)}</span>
          </div>
          <pre className="codeblock wrap">{JSON.stringify(entry.value, null, 2)}</pre>
        </section>
      ))}
    </div>
  );
}

function askedFor(attempt: Try): string {
  if (!attempt.memory_request_bytes && !attempt.memory_limit_bytes) return '—';
  const request = attempt.memory_request_bytes ? formatBytes(attempt.memory_request_bytes) : 'nothing';
  const limit = attempt.memory_limit_bytes ? `, at most ${formatBytes(attempt.memory_limit_bytes)}` : '';
  return `${request}${limit} (${attempt.memory_source || 'configured'})`;
}

function Details({ task, attempt }: { task: TaskInstanceDetails; attempt: Try | undefined }) {
  const upstream = Object.entries(task.upstream_states);
  const cells: [string, React.ReactNode][] = [
    ['Operator', task.operator || '—'],
    ['Pool', task.pool || '—'],
    ['Worker', attempt?.worker || task.worker || '—'],
    ['Outcome', attempt?.outcome ? outcomeLabel(attempt.outcome) : '—'],
    ['Exit code', attempt?.exit_code ?? '—'],
    ['Peak memory', formatBytes(attempt?.peak_memory_bytes)],
    ['Memory asked for', attempt ? askedFor(attempt) : '—'],
    ['CPU time', formatDuration(attempt?.cpu_seconds)],
    ['Read', formatBytes(attempt?.read_bytes)],
    ['Written', formatBytes(attempt?.written_bytes)],
    ['Log size', attempt ? formatBytes(attempt.log_bytes) : '—'],
    ['Application', task.application_id || '—'],
  ];
  const memory = useQuery(memoryQuery(task.dag_id)).data?.find((one) => one.task_id === task.task_id);
  const [changing, setChanging] = useState(false);
  return (
    <div className="tab-scroll" tabIndex={0} role="group" aria-label="Details">
      <dl className="facts">
        {cells.map(([name, value]) => (
          <div key={name} style={{ display: 'contents' }}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {memory && (
        <section>
          <h2 className="label">Memory of the next try</h2>
          <div className="row wrap">
            <span>{memoryText(memory)}</span>
            <Peaks memory={memory} />
            <button type="button" className="btn small" onClick={() => setChanging(true)}>
              Change
            </button>
          </div>
          {changing && (
            <MemoryDialog dagId={task.dag_id} memory={memory} onClose={() => setChanging(false)} />
          )}
        </section>
      )}
      {upstream.length > 0 && (
        <section>
          <h2 className="label">Upstream</h2>
          <ul>
            {upstream.map(([id, state]) => (
              <li key={id} className="row">
                <StateIcon state={state} label />
                <span className="mono">{id}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

/** What a deferred task asks a person, if that is what it waits for. */
function Asked({ taskKey }: { taskKey: TaskKey }) {
  const { dagId, runId, taskId, mapIndex } = taskKey;
  const { data } = useQuery(decisionQuery(dagId, runId, taskId, mapIndex));
  if (data?.state !== 'waiting') return null;
  return (
    <div className="task-why">
      <DecisionCard decision={data} />
    </div>
  );
}
