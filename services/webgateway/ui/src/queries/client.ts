/** The generated REST client, and its errors as `ApiProblem`. */
import createClient from 'openapi-fetch';
import type { components, paths } from '../api-gen/schema';

export type Schemas = components['schemas'];
export type DagSummary = Schemas['DagSummary'];
export type DagDetails = Schemas['DagDetails'];
export type RunSummary = Schemas['RunSummary'];
export type Run = Schemas['Run'];
export type Grid = Schemas['Grid'];
export type GridRow = Schemas['GridRow'];
export type Layout = Schemas['Layout'];
export type TaskNode = Schemas['TaskNode'];
export type TaskInstance = Schemas['TaskInstance'];
export type TaskInstanceDetails = Schemas['TaskInstanceDetails'];
export type Try = Schemas['Try'];
export type Stage = Schemas['Stage'];
export type Diagnosis = Schemas['Diagnosis'];
export type ParseError = Schemas['ParseError'];
export type EndedParseError = Schemas['EndedParseError'];
export type Explanation = Schemas['Explanation'];
export type Reason = Schemas['Reason'];
export type Party = Schemas['Party'];
export type EventEntry = Schemas['EventEntry'];
export type AuditEntry = Schemas['AuditEntry'];
export type SearchHit = Schemas['SearchHit'];
export type CallbackRun = Schemas['CallbackRun'];
export type TaskMemory = Schemas['TaskMemory'];
export type Asset = Schemas['Asset'];
export type AssetUser = Schemas['AssetUser'];
export type AssetWatcher = Schemas['AssetWatcher'];
export type AssetPartition = Schemas['AssetPartition'];
export type AssetEventEntry = Schemas['AssetEventEntry'];
export type DeadlineEntry = Schemas['DeadlineEntry'];
export type PoolInfo = Schemas['PoolInfo'];
export type VariableInfo = Schemas['VariableInfo'];
export type ConnectionInfo = Schemas['ConnectionInfo'];

export const API = '/api/v1';

export const client = createClient<paths>({ baseUrl: '' });

/** What went wrong, where, and how to mend it; shown to the user as it is. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fix: string,
  ) {
    super(message);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of a successful answer; raises `ApiProblem` otherwise. */
export async function unwrap<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiProblem(
      0,
      'unreachable',
      'The gateway does not answer.',
      'Check that Spinner is up (`spinner status`) and that your network reaches it; the page recovers by itself.',
    );
  }
  if (answer.response.ok) return answer.data as T;
  throw problemOf(answer.response.status, answer.error);
}

function problemOf(status: number, body: unknown): ApiProblem {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const text = (name: string) => (typeof problem[name] === 'string' ? problem[name] : '');
  return new ApiProblem(
    status,
    text('code') || String(status),
    text('message') || `The gateway answered ${status}.`,
    text('fix') || (status >= 500 ? 'Try again; if it stays, look at the gateway’s log.' : ''),
  );
}

export function asProblem(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  return new ApiProblem(0, 'bug', error instanceof Error ? error.message : String(error), 'Reload the page.');
}
