import { describe, expect, it } from 'vitest';
import { type Param, paramsOf, parse, problemsOf, startOf, textFor } from '../src/lib/params';

const one = (schema: Record<string, unknown>, value: unknown = null, required = false): Param =>
  paramsOf({ p: { value, required, description: null, schema } })[0]!;

describe('form of parameters', () => {
  it.each([
    [{ type: 'string' }, 'line'],
    [{ type: 'string', format: 'multiline' }, 'text'],
    [{ type: 'string', format: 'date' }, 'date'],
    [{ type: 'string', format: 'date-time' }, 'date-time'],
    [{ type: 'string', format: 'time' }, 'time'],
    [{ type: ['integer', 'null'] }, 'integer'],
    [{ type: 'number' }, 'number'],
    [{ type: 'boolean' }, 'boolean'],
    [{ type: 'string', enum: ['a', 'b'] }, 'choice'],
    [{ type: 'array' }, 'lines'],
    [{ type: 'array', items: { type: 'object' } }, 'json'],
    [{ type: 'array', examples: ['a', 'b'] }, 'choices'],
    [{ type: 'object' }, 'json'],
    [{ const: 3 }, 'constant'],
  ])('has a field for %j', (schema, kind) => {
    expect(one(schema).kind).toBe(kind);
  });

  it('goes by the default where there is no type', () => {
    const kinds = paramsOf({ a: 1, b: true, c: [], d: { value: { x: 1 } }, e: 'x' }).map(
      (param) => param.kind,
    );
    expect(kinds).toEqual(['number', 'boolean', 'lines', 'json', 'line']);
  });

  it('gives values of the declared type', () => {
    expect(parse(one({ type: 'integer' }), '3')).toEqual({ ok: true, value: 3 });
    expect(parse(one({ type: 'boolean' }), 'true')).toEqual({ ok: true, value: true });
    expect(parse(one({ type: 'array' }), 'a\n\nb')).toEqual({ ok: true, value: ['a', 'b'] });
    expect(parse(one({ enum: [1, 2] }), '2')).toEqual({ ok: true, value: 2 });
    expect(parse(one({ type: 'object' }), '{"a": 1}')).toEqual({ ok: true, value: { a: 1 } });
    expect(parse(one({ type: ['string', 'null'] }), '')).toEqual({ ok: true, value: null });
    const moment = one({ type: 'string', format: 'date-time' });
    expect(parse(moment, '2026-01-31T08:00')).toEqual({ ok: true, value: '2026-01-31T08:00:00+00:00' });
    expect(textFor(moment, '2026-01-31T09:00:00+01:00')).toBe('2026-01-31T08:00:00');
  });

  it.each([
    [{ type: 'integer', minimum: 2 }, '1', 'At least 2.'],
    [{ type: 'integer', maximum: 2 }, '3', 'At most 2.'],
    [{ type: 'integer' }, '1.5', 'Must be a whole number.'],
    [{ type: 'number', exclusiveMaximum: 2 }, '2', 'Less than 2.'],
    [{ type: 'string', minLength: 2 }, 'a', 'Needs at least 2 characters.'],
    [{ type: 'string', pattern: '^a' }, 'b', 'Must match ^a.'],
    [{ type: 'array', maxItems: 1 }, 'a\nb', 'At most 1 values.'],
    [{ type: 'object' }, '[1]', 'Must be a JSON object.'],
    [{ type: 'object' }, '{', 'Not valid JSON.'],
    [{ type: 'integer' }, '', 'Needs a value.'],
  ])('says what is wrong: %j of %s', (schema, typed, message) => {
    expect(parse(one(schema, 1), typed)).toEqual({ ok: false, message });
  });

  it('begins with the defaults and asks for what must be given', () => {
    const params = paramsOf({
      day: { value: null, required: true, schema: { type: 'string', format: 'date' } },
      n: { value: 3, required: false, schema: { type: 'integer', section: 'More', title: 'Count' } },
      mode: { value: 'x', required: false, schema: { enum: ['x', 'y'], values_display: { x: 'Fast' } } },
    });
    expect(params.map((param) => [param.label, param.section])).toEqual([
      ['day', ''],
      ['mode', ''],
      ['Count', 'More'],
    ]);
    expect(params[1]?.choices[0]).toEqual({ value: 'x', label: 'Fast' });
    expect(startOf(params)).toEqual({ mode: 'x', n: 3 });
    expect(problemsOf(params, startOf(params))).toEqual({ day: 'Needs a value.' });
    expect(problemsOf(params, { day: '2026-01-31', mode: 'z', n: 3 })).toEqual({
      mode: 'Must be one of Fast, y.',
    });
  });
});
