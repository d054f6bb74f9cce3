/** What a task asks a person, and the buttons to answer it. */
import { Link } from '@tanstack/react-router';
import { Check } from 'lucide-react';
import { useState } from 'react';
import { chosenOk, fieldsOf, textOf, valueOf } from '../lib/decisions';
import { actorName } from '../lib/words';
import { useDecide, type Decision } from '../queries/decisions';
import './backfills.css';
import { Markdown } from './Markdown';
import { toastGood } from './Toasts';
import { Problem, RelativeTime } from './ui';

export function DecisionCard({ decision, named = false }: { decision: Decision; named?: boolean }) {
  return (
    <section className="decision" aria-label={decision.subject}>
      <div className="row wrap">
        <strong>{decision.subject}</strong>
        {named && (
          <Link
            className="link mono truncate"
            to="/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex"
            params={{
              dagId: decision.dag_id,
              runId: decision.run_id,
              taskId: decision.task_id,
              mapIndex: String(decision.map_index),
            }}
          >
            {decision.dag_id} · {decision.task_id}
            {decision.map_index >= 0 && ` [${decision.map_index}]`}
          </Link>
        )}
        <span className="muted right">
          {decision.state === 'waiting' ? 'asked' : decision.state.replace('_', ' ')}{' '}
          <RelativeTime value={decision.decided_time ?? decision.requested_time} />
        </span>
      </div>
      {decision.body && <Markdown text={decision.body} />}
      {decision.state === 'waiting' ? <Answer decision={decision} /> : <Answered decision={decision} />}
    </section>
  );
}

function Answered({ decision }: { decision: Decision }) {
  if (decision.state === 'closed')
    return <p className="muted">Nobody decided: the task was cleared, marked or stopped meanwhile.</p>;
  const who = decision.decided_by ? actorName(decision.decided_by) : 'nobody in time: the default';
  return (
    <p className="muted">
      {decision.chosen_options.join(', ') || 'No option'} by {who}
      {decision.note && ` · ${decision.note}`}
      {Object.keys(decision.params_input).length > 0 && (
        <span className="mono"> · {JSON.stringify(decision.params_input)}</span>
      )}
    </p>
  );
}

function Answer({ decision }: { decision: Decision }) {
  const decide = useDecide();
  const fields = fieldsOf(decision.params);
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [chosen, setChosen] = useState<string[]>([]);
  const [note, setNote] = useState('');
  const send = (options: string[]) =>
    decide.mutate(
      {
        decision,
        chosen_options: options,
        params: Object.fromEntries(
          fields
            .filter((field) => typed[field.name] !== undefined)
            .map((field) => [field.name, valueOf(field, typed[field.name] ?? '')]),
        ),
        note,
      },
      { onSuccess: () => toastGood(options.join(', ') || 'Decided', decision.subject) },
    );
  return (
    <>
      <div className="decision-form">
        {fields.map((field) => {
          const text = typed[field.name] ?? textOf(field.value);
          const set = (value: string) => setTyped({ ...typed, [field.name]: value });
          return (
            <label key={field.name} className="labelled">
              <span title={field.hint}>
                {field.description || field.name}
                {field.required && <span className="faint"> (required)</span>}
              </span>
              {field.choices || field.type === 'boolean' ? (
                <select className="field" value={text} onChange={(event) => set(event.target.value)}>
                  {field.required && text === '' && <option value="">Choose …</option>}
                  {(field.choices ?? [true, false]).map((choice) => (
                    <option key={textOf(choice)} value={textOf(choice)}>
                      {textOf(choice)}
                    </option>
                  ))}
                </select>
              ) : (
                <input
                  className="field"
                  type={field.type === 'integer' || field.type === 'number' ? 'number' : 'text'}
                  value={text}
                  required={field.required}
                  onChange={(event) => set(event.target.value)}
                />
              )}
            </label>
          );
        })}
        <label className="labelled">
          <span>Note</span>
          <input className="field" value={note} onChange={(event) => setNote(event.target.value)} />
        </label>
      </div>
      <div className="row wrap">
        {decision.multiple ? (
          <>
            {decision.options.map((option) => (
              <label key={option} className="check">
                <input
                  type="checkbox"
                  checked={chosen.includes(option)}
                  onChange={(event) =>
                    setChosen(
                      event.target.checked ? [...chosen, option] : chosen.filter((other) => other !== option),
                    )
                  }
                />
                {option}
              </label>
            ))}
            <button
              type="button"
              className="btn primary"
              disabled={!chosenOk(decision, chosen) || decide.isPending}
              onClick={() => send(chosen)}
            >
              <Check size={13} /> Decide
            </button>
          </>
        ) : (
          decision.options.map((option, index) => (
            <button
              key={option}
              type="button"
              className={index === 0 ? 'btn primary' : 'btn'}
              disabled={decide.isPending}
              onClick={() => send([option])}
            >
              {option}
            </button>
          ))
        )}
        <span className="muted right">
          {decision.assignees.length > 0 && `For ${decision.assignees.map(actorName).join(', ')}. `}
          {decision.deadline && (
            <>
              {decision.defaults.length > 0 ? `${decision.defaults.join(', ')} is taken ` : 'It fails '}
              <RelativeTime value={decision.deadline} />
            </>
          )}
        </span>
      </div>
      {decide.isError && <Problem error={decide.error} />}
    </>
  );
}
