import { type ReactNode, useId } from 'react';
import { type Param, parse, shown, textFor } from '../lib/params';

interface Props {
  params: Param[];
  conf: Record<string, unknown>;
  /** What was typed and is no value yet, by parameter. */
  drafts: Record<string, string>;
  problems: Record<string, string>;
  onChange: (name: string, value: unknown, draft: string | null) => void;
}

/** A field for each parameter. A text that is no value stays a draft until it is one. */
export function ParamForm({ params, conf, drafts, problems, onChange }: Props) {
  const sections = [...new Set(params.map((param) => param.section))];
  const field = (param: Param) => (
    <ParamField
      key={param.name}
      param={param}
      typed={drafts[param.name] ?? textFor(param, conf[param.name])}
      problem={problems[param.name] ?? ''}
      onType={(typed) => {
        const parsed = parse(param, typed);
        if (parsed.ok) onChange(param.name, parsed.value, param.kind === 'json' ? typed : null);
        else onChange(param.name, undefined, typed);
      }}
    />
  );
  return (
    <div className="param-form">
      {sections.map((section) => {
        const fields = params.filter((param) => param.section === section).map(field);
        return section ? (
          <details key={section} open>
            <summary>{section}</summary>
            <div className="param-form">{fields}</div>
          </details>
        ) : (
          fields
        );
      })}
    </div>
  );
}

interface FieldProps {
  param: Param;
  typed: string;
  problem: string;
  onType: (typed: string) => void;
}

function ParamField({ param, typed, problem, onType }: FieldProps) {
  const id = useId();
  const about = `${id}-about`;
  return (
    <div className="labelled">
      <label htmlFor={id}>
        {param.label}
        {param.required && <span className="faint"> (required)</span>}
        {param.kind === 'date-time' && <span className="faint"> (UTC)</span>}
        {param.kind === 'lines' && <span className="faint"> (one value a line)</span>}
        {param.kind === 'json' && <span className="faint"> (JSON)</span>}
      </label>
      {input(param, { id, about, typed, invalid: problem !== '', onType })}
      <span id={about} className="small muted">
        {problem ? (
          <span role="alert" style={{ color: 'var(--danger)' }}>
            {problem}
          </span>
        ) : (
          param.description
        )}
      </span>
    </div>
  );
}

interface Wiring {
  id: string;
  about: string;
  typed: string;
  invalid: boolean;
  onType: (typed: string) => void;
}

const TYPES: Partial<Record<Param['kind'], string>> = {
  integer: 'number',
  number: 'number',
  date: 'date',
  'date-time': 'datetime-local',
  time: 'time',
};

function input(param: Param, { id, about, typed, invalid, onType }: Wiring): ReactNode {
  const shared = { id, 'aria-describedby': about, 'aria-invalid': invalid, 'aria-required': param.required };
  if (param.kind === 'constant')
    return <input {...shared} className="field mono" value={shown(param.schema.const)} readOnly />;
  if (param.kind === 'boolean')
    return (
      <input
        {...shared}
        type="checkbox"
        className="param-check"
        checked={typed === 'true'}
        onChange={(event) => onType(String(event.target.checked))}
      />
    );
  if (param.kind === 'choice')
    return (
      <select {...shared} className="field" value={typed} onChange={(event) => onType(event.target.value)}>
        {(param.nullable || typed === '') && <option value="">{param.nullable ? '' : 'Choose …'}</option>}
        {param.choices.map((choice) => (
          <option key={shown(choice.value)} value={shown(choice.value)}>
            {choice.label}
          </option>
        ))}
      </select>
    );
  if (param.kind === 'choices') {
    const chosen = chosenOf(typed);
    return (
      <select
        {...shared}
        multiple
        className="field"
        value={chosen}
        onChange={(event) => {
          const labels = new Set([...event.target.selectedOptions].map((option) => option.value));
          onType(JSON.stringify(param.examples.filter((example) => labels.has(shown(example)))));
        }}
      >
        {param.choices.map((choice) => (
          <option key={shown(choice.value)} value={shown(choice.value)}>
            {choice.label}
          </option>
        ))}
      </select>
    );
  }
  if (param.kind === 'text' || param.kind === 'lines' || param.kind === 'json')
    return (
      <textarea
        {...shared}
        className={param.kind === 'json' ? 'field mono' : 'field'}
        rows={Math.min(8, Math.max(3, typed.split('\n').length))}
        spellCheck={false}
        value={typed}
        onChange={(event) => onType(event.target.value)}
      />
    );
  const { schema } = param;
  return (
    <>
      <input
        {...shared}
        className="field"
        type={TYPES[param.kind] ?? 'text'}
        min={schema.minimum as number | undefined}
        max={schema.maximum as number | undefined}
        step={param.kind === 'number' ? 'any' : 1}
        maxLength={schema.maxLength as number | undefined}
        list={param.examples.length > 0 ? `${id}-examples` : undefined}
        value={typed}
        onChange={(event) => onType(event.target.value)}
      />
      {param.examples.length > 0 && (
        <datalist id={`${id}-examples`}>
          {param.examples.map((example) => (
            <option key={shown(example)} value={shown(example)} />
          ))}
        </datalist>
      )}
    </>
  );
}

function chosenOf(typed: string): string[] {
  try {
    const value: unknown = JSON.parse(typed);
    return Array.isArray(value) ? value.map(shown) : [];
  } catch {
    return [];
  }
}
