import { describe, expect, it } from 'vitest';
import { ApiProblem } from '../src/queries/client';
import { Once } from '../src/queries/once';

/** A server that answers with the next of `answers`, and the ids it saw. */
function server(...answers: (Error | string)[]) {
  const ids: string[] = [];
  const request = (id: string) => {
    ids.push(id);
    const answer = answers.shift() ?? 'done';
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { ids, request };
}

const problem = (status: number) => new ApiProblem(status, 'code', 'message', 'fix');

describe('a command that is sent once', () => {
  it.each([0, 500, 503])('keeps its id when it is sent again after status %i', async (status) => {
    const once = new Once();
    const { ids, request } = server(problem(status));
    await expect(once.send({ run: 'a' }, request)).rejects.toThrow();
    await once.send({ run: 'a' }, request);
    expect(ids[1]).toBe(ids[0]);
  });

  it('has a new id after an answer, a refusal, or for another wish', async () => {
    const once = new Once();
    const { ids, request } = server('done', problem(409), problem(0));
    await once.send({ run: 'a' }, request);
    await expect(once.send({ run: 'a' }, request)).rejects.toThrow();
    await expect(once.send({ run: 'a' }, request)).rejects.toThrow();
    await once.send({ run: 'b' }, request);
    expect(new Set(ids).size).toBe(4);
  });
});
