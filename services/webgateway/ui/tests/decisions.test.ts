import { describe, expect, it } from 'vitest';
import { chosenOk, fieldsOf, textOf, valueOf } from '../src/lib/decisions';

describe('decisions', () => {
  it('makes a form of the parameters', () => {
    const [copies, side] = fieldsOf({
      copies: { value: 1, schema: { type: 'integer' }, description: 'How many' },
      side: { value: 'left', schema: { enum: ['left', 'right'] } },
    });
    expect(copies).toMatchObject({ name: 'copies', type: 'integer', value: 1, description: 'How many' });
    expect(side?.choices).toEqual(['left', 'right']);
  });

  it('sends values of the type that the field has', () => {
    const field = (type: string) => fieldsOf({ f: { value: '', schema: { type } } })[0]!;
    expect(valueOf(field('integer'), '3')).toBe(3);
    expect(valueOf(field('boolean'), 'true')).toBe(true);
    expect(valueOf(field('array'), '[1]')).toEqual([1]);
    expect(valueOf(field('string'), '3')).toBe('3');
    expect(textOf([1])).toBe('[1]');
  });

  it('asks for one option, or for several where they are allowed', () => {
    expect(chosenOk({ options: ['a', 'b'], multiple: false }, [])).toBe(false);
    expect(chosenOk({ options: ['a', 'b'], multiple: false }, ['a', 'b'])).toBe(false);
    expect(chosenOk({ options: ['a', 'b'], multiple: true }, ['a', 'b'])).toBe(true);
  });

  it('what must be given is marked and not filled in', () => {
    const fields = fieldsOf({
      day: {
        value: null,
        required: true,
        description: 'Which day',
        schema: { type: 'string', format: 'date' },
      },
      n: { value: 3, required: false, description: null, schema: { type: 'integer', minimum: 1 } },
      none: { value: null, required: false, description: null, schema: {} },
    });
    expect(fields.map((field) => [field.name, field.required, field.hint])).toEqual([
      ['day', true, 'type string, format date'],
      ['n', false, 'type integer, minimum 1'],
      ['none', false, ''],
    ]);
  });
});
