import { describe, expect, it } from 'vitest';
import { memoryText, quantity } from '../src/lib/memory';

const MIB = 2 ** 20;
const task = {
  task_id: 't',
  request_bytes: 312 * MIB,
  limit_bytes: 512 * MIB,
  source: 'learned',
  configured_request_bytes: 0,
  configured_limit_bytes: 0,
  learned_request_bytes: 0,
  raised_limit_bytes: 0,
  set_request_bytes: 0,
  set_limit_bytes: 0,
  set_by: '',
  changed_time: null,
  samples: [],
};

describe('memory in words', () => {
  it('says what, how much at most, and why', () => {
    expect(memoryText(task)).toBe('312 MiB, at most 512 MiB — learned from its latest tries');
    expect(memoryText({ ...task, request_bytes: 0, limit_bytes: 0 })).toBe('nothing asked for');
  });
  it('writes quantities that the API reads again', () => {
    expect([512 * MIB, 2 ** 31, 1000, 0].map(quantity)).toEqual(['512Mi', '2Gi', '1000', '']);
  });
});
