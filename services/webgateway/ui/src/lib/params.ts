/**
 * A form of a DAG's parameters, made from their JSON schemas as Airflow makes it: what kind of field each is, its text
 * for a value, the value of a text, and what is wrong with it. The gateway checks again. Pure.
 */

export type Kind =
  | 'boolean'
  | 'choice'
  | 'choices'
  | 'constant'
  | 'integer'
  | 'number'
  | 'date'
  | 'date-time'
  | 'time'
  | 'line'
  | 'text'
  | 'lines'
  | 'json';

export interface Param {
  name: string;
  label: string;
  kind: Kind;
  required: boolean;
  nullable: boolean;
  description: string;
  section: string;
  choices: { value: unknown; label: string }[];
  /** Values to propose where others are allowed. */
  examples: unknown[];
  schema: Record<string, unknown>;
  start: unknown;
}

export type Parsed = { ok: true; value: unknown } | { ok: false; message: string };

function object(raw: unknown): Record<string, unknown> | null {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw)
    ? (raw as Record<string, unknown>)
    : null;
}

function list(raw: unknown): unknown[] {
  return Array.isArray(raw) ? (raw as unknown[]) : [];
}

function text(raw: unknown): string {
  return typeof raw === 'string' ? raw : '';
}

export function shown(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The fields of the form, in the order they were declared; those with a section after those without. */
export function paramsOf(declared: Record<string, unknown>): Param[] {
  const found = Object.entries(declared).map(([name, raw]) => {
    const param = object(raw) ?? { value: raw };
    const schema = object(param.schema) ?? {};
    const types = [schema.type].flat().filter((type): type is string => typeof type === 'string');
    const start = 'value' in param ? param.value : param.default;
    const display = object(schema.values_display) ?? {};
    const examples = list(schema.examples);
    const kind = kindOf(types.find((type) => type !== 'null') ?? typeOf(start), schema, examples);
    const offered = kind === 'choices' ? examples : list(schema.enum);
    return {
      name,
      label: text(schema.title) || name,
      kind,
      required: param.required === true,
      nullable: types.includes('null') || (types.length === 0 && start === null),
      description: text(param.description) || text(schema.description) || text(schema.description_md),
      section: text(schema.section),
      choices: offered.map((value) => ({ value, label: text(display[shown(value)]) || shown(value) })),
      examples,
      schema,
      start,
    };
  });
  return [...found.filter((param) => !param.section), ...found.filter((param) => param.section)];
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean' || typeof value === 'number') return typeof value;
  return object(value) ? 'object' : 'string';
}

function kindOf(type: string, schema: Record<string, unknown>, examples: unknown[]): Kind {
  if ('const' in schema) return 'constant';
  if (Array.isArray(schema.enum)) return 'choice';
  if (type === 'boolean' || type === 'integer' || type === 'number') return type;
  if (type === 'object') return 'json';
  if (type === 'array') {
    if (examples.length > 0) return 'choices';
    const item = object(schema.items)?.type;
    return item === undefined || item === 'string' ? 'lines' : 'json';
  }
  const format = text(schema.format);
  if (format === 'date' || format === 'date-time' || format === 'time') return format;
  return format === 'multiline' ? 'text' : 'line';
}

/** What the field shows for a value. */
export function textFor(param: Param, value: unknown): string {
  if (value === null || value === undefined) return '';
  if (param.kind === 'json') return JSON.stringify(value, null, 2);
  if (param.kind === 'lines') return list(value).map(shown).join('\n');
  if (param.kind === 'choices') return JSON.stringify(value);
  if (param.kind === 'date-time') {
    const moment = new Date(shown(value));
    return Number.isNaN(moment.getTime()) ? shown(value) : moment.toISOString().slice(0, 19);
  }
  return shown(value);
}

/** The value of what was typed; `undefined` for a field that was left empty and may be left out. */
export function parse(param: Param, typed: string): Parsed {
  if (typed.trim() === '' && param.kind !== 'lines') {
    if (param.nullable) return { ok: true, value: null };
    if (param.required) return { ok: false, message: 'Needs a value.' };
    return param.kind === 'line' || param.kind === 'text'
      ? checked(param, typed)
      : { ok: false, message: 'Needs a value.' };
  }
  switch (param.kind) {
    case 'integer':
    case 'number': {
      const value = Number(typed);
      if (Number.isNaN(value)) return { ok: false, message: `${typed} is no number.` };
      return checked(param, value);
    }
    case 'boolean':
      return { ok: true, value: typed === 'true' };
    case 'choice': {
      const choice = param.choices.find((one) => shown(one.value) === typed);
      return choice ? { ok: true, value: choice.value } : { ok: false, message: 'Choose one of the values.' };
    }
    case 'lines': {
      const lines = typed.split('\n').filter((line) => line.trim() !== '');
      return checked(param, lines);
    }
    case 'choices':
    case 'json':
      try {
        return checked(param, JSON.parse(typed) as unknown);
      } catch {
        return { ok: false, message: 'Not valid JSON.' };
      }
    case 'date-time':
      return checked(param, `${typed.length === 16 ? `${typed}:00` : typed}+00:00`);
    case 'time':
      return checked(param, typed.length === 5 ? `${typed}:00` : typed);
    case 'constant':
      return { ok: true, value: param.schema.const };
    default:
      return checked(param, typed);
  }
}

function checked(param: Param, value: unknown): Parsed {
  const message = problemOf(param, value);
  return message ? { ok: false, message } : { ok: true, value };
}

/** Why a value doesn't fit; empty when it does. */
export function problemOf(param: Param, value: unknown): string {
  if (value === undefined) return param.required ? 'Needs a value.' : '';
  const { schema } = param;
  const limit = (key: string) => (typeof schema[key] === 'number' ? schema[key] : undefined);
  if (value === null) return param.nullable ? '' : 'Needs a value.';
  if (param.kind === 'boolean' && typeof value !== 'boolean') return 'Must be true or false.';
  if (param.kind === 'integer' || param.kind === 'number') {
    if (typeof value !== 'number') return 'Must be a number.';
    if (param.kind === 'integer' && !Number.isInteger(value)) return 'Must be a whole number.';
    return numberProblem(value, limit);
  }
  if (param.kind === 'choice' && !param.choices.some((one) => shown(one.value) === shown(value)))
    return `Must be one of ${param.choices.map((one) => one.label).join(', ')}.`;
  if (typeof value === 'string') {
    const least = limit('minLength') ?? 0;
    const most = limit('maxLength') ?? Infinity;
    if (value.length < least) return `Needs at least ${least} characters.`;
    if (value.length > most) return `At most ${most} characters.`;
    return patternProblem(value, text(schema.pattern));
  }
  if (param.kind === 'lines' || param.kind === 'choices') {
    if (!Array.isArray(value)) return 'Must be a list.';
    if (value.length < (limit('minItems') ?? 0)) return `Needs at least ${limit('minItems')} values.`;
    if (value.length > (limit('maxItems') ?? Infinity)) return `At most ${limit('maxItems')} values.`;
  }
  if (param.kind === 'json') {
    const wanted = [schema.type].flat();
    if (wanted.includes('object') && !object(value)) return 'Must be a JSON object.';
    if (wanted.includes('array') && !Array.isArray(value)) return 'Must be a JSON list.';
  }
  return '';
}

function numberProblem(value: number, limit: (key: string) => number | undefined): string {
  if (value < (limit('minimum') ?? -Infinity)) return `At least ${limit('minimum')}.`;
  if (value > (limit('maximum') ?? Infinity)) return `At most ${limit('maximum')}.`;
  if (value <= (limit('exclusiveMinimum') ?? -Infinity)) return `More than ${limit('exclusiveMinimum')}.`;
  if (value >= (limit('exclusiveMaximum') ?? Infinity)) return `Less than ${limit('exclusiveMaximum')}.`;
  const step = limit('multipleOf');
  return step && Math.abs(value / step - Math.round(value / step)) > 1e-9 ? `A multiple of ${step}.` : '';
}

function patternProblem(value: string, pattern: string): string {
  try {
    return pattern && !new RegExp(pattern).test(value) ? `Must match ${pattern}.` : '';
  } catch {
    return ''; // a pattern of Python's own: the gateway checks it
  }
}

/** The conf that the form begins with: what must be given is not in it. */
export function startOf(params: Param[]): Record<string, unknown> {
  return Object.fromEntries(
    params.filter((param) => !param.required).map((param) => [param.name, param.start]),
  );
}

/** What is wrong with a conf, by parameter. */
export function problemsOf(params: Param[], conf: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    params
      .map((param) => [param.name, problemOf(param, conf[param.name])] as const)
      .filter(([, problem]) => problem),
  );
}
