/** What the journeys ask of the REST API, to prepare and to wait; what they test they do in the page. */
import { expect, type APIRequestContext } from '@playwright/test';

export interface RunFacts {
  run_id: string;
  state: string;
}

export async function unpause(request: APIRequestContext, dagId: string): Promise<void> {
  const answer = await request.patch(`/api/v1/dags/${dagId}`, {
    data: { paused: false },
  });
  expect(answer.ok(), await answer.text()).toBe(true);
}

export async function trigger(request: APIRequestContext, dagId: string, conf: object = {}): Promise<string> {
  const answer = await request.post(`/api/v1/dags/${dagId}/runs`, {
    data: { conf },
  });
  expect(answer.ok(), await answer.text()).toBe(true);
  return ((await answer.json()) as RunFacts).run_id;
}

/** Waits until the run has ended and returns its state. */
export async function ended(request: APIRequestContext, dagId: string, runId: string): Promise<string> {
  let state = '';
  await expect
    .poll(
      async () => {
        const answer = await request.get(`/api/v1/dags/${dagId}/runs/${encodeURIComponent(runId)}`);
        state = answer.ok() ? ((await answer.json()) as RunFacts).state : '';
        return state;
      },
      { timeout: 60_000 },
    )
    .toMatch(/success|failed/);
  return state;
}

export const runPath = (dagId: string, runId: string): string =>
  `/dags/${dagId}/runs/${encodeURIComponent(runId)}`;
