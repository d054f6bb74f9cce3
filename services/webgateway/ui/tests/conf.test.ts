import { describe, expect, it } from 'vitest';
import { checkConf } from '../src/lib/conf';

function refused(text: string): string {
  const check = checkConf(text);
  if (check.ok) throw new Error(`${text} was accepted`);
  return `${check.message} ${check.fix}`;
}

describe('conf', () => {
  it('takes an object, and nothing as an empty object', () => {
    expect(checkConf('{"day": "2026-11-26", "full": false}')).toEqual({
      ok: true,
      value: { day: '2026-11-26', full: false },
    });
    expect(checkConf('  \n')).toEqual({ ok: true, value: {} });
  });

  it.each([
    ['[1, 2]', 'not a list'],
    ['null', 'not null'],
    ['"text"', 'not a string'],
    ['7', 'not a number'],
  ])('refuses %s and says why', (text, reason) => {
    expect(refused(text)).toContain(reason);
  });

  it('names the place and the mistake', () => {
    expect(refused("{'day': 1}")).toMatch(/line 1, column 2.*double quotes/);
    expect(refused('{"a": 1,\n "b": 2,}')).toMatch(/line 2.*comma/);
    expect(refused('{"a": True}')).toContain('true, false and null');
  });

  it('counts bytes, not letters, against the limit', () => {
    const text = JSON.stringify({ a: 'é'.repeat(600_000) });
    expect(refused(text)).toContain('limit is 1 MiB');
    expect(checkConf(JSON.stringify({ a: 'e'.repeat(600_000) })).ok).toBe(true);
  });
});
