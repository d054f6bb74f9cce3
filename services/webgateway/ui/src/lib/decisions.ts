/** Answers to what tasks ask: the form's values as typed, and whether they can be sent. Pure. */
import type { Decision } from '../queries/decisions';

export interface Field {
  name: string;
  type: string;
  description: string;
  required: boolean;
  /** The schema in words, for who wonders what fits. */
  hint: string;
  value: unknown;
  /** As declared: null stays null. */
  start: unknown;
  choices: unknown[] | null;
}

export function fieldsOf(params: Decision['params']): Field[] {
  return Object.entries(params).map(([name, raw]) => {
    const param = (
      typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? raw : { value: raw }
    ) as Record<string, unknown>;
    const schema = (param.schema ?? {}) as Record<string, unknown>;
    const kind: unknown = Array.isArray(schema.type) ? schema.type[0] : schema.type;
    const type = typeof kind === 'string' ? kind : 'string';
    return {
      name,
      type,
      description: typeof param.description === 'string' ? param.description : '',
      required: param.required === true,
      hint: Object.entries(schema)
        .map(([key, fact]) => `${key} ${textOf(fact)}`)
        .join(', '),
      value: param.value ?? '',
      start: 'value' in param ? param.value : param.default,
      choices: Array.isArray(schema.enum) ? schema.enum : null,
    };
  });
}

/** The typed text as the field's type wants it. */
export function valueOf(field: Field, text: string): unknown {
  if (field.type === 'integer' || field.type === 'number') return text.trim() === '' ? text : Number(text);
  if (field.type === 'boolean') return text === 'true';
  if (field.type === 'array' || field.type === 'object') {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  }
  return text;
}

export function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Whether these options may be sent. */
export function chosenOk(decision: Pick<Decision, 'options' | 'multiple'>, chosen: string[]): boolean {
  if (decision.options.length === 0) return true;
  return chosen.length > 0 && (decision.multiple || chosen.length === 1);
}
