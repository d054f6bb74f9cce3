/** Everything a page keeps in its address, so that every view can be linked to. */
import { useNavigate, useSearch as useRouterSearch } from '@tanstack/react-router';
import { useCallback } from 'react';

export interface Search {
  q?: string;
  owner?: string;
  tier?: number;
  tag?: string;
  paused?: boolean;
  state?: string;
  sort?: string;
  runs?: number;
  run?: string;
  task?: string;
  map?: number;
  try?: number;
  tab?: string;
  line?: number;
  find?: string;
  level?: string;
  version?: string;
  path?: string;
  subject?: string;
  actor?: string;
  trigger?: boolean;
  /** Of runs: their type, when they were due (ISO times), a year of them. */
  type?: string;
  due_from?: string;
  due_to?: string;
  year?: number;
  /** Task ids, separated by commas. */
  tasks?: string;
  /** Of failures: their cause, and one DAG of all. */
  fingerprint?: string;
  dag?: string;
  /** Of a DAG's graph: without the states of a run. */
  plain?: boolean;
}

const TEXTS = [
  'q',
  'owner',
  'tag',
  'state',
  'sort',
  'run',
  'task',
  'tab',
  'find',
  'level',
  'version',
  'path',
  'subject',
  'actor',
  'type',
  'due_from',
  'due_to',
  'tasks',
  'fingerprint',
  'dag',
] as const;
const NUMBERS = ['tier', 'runs', 'map', 'try', 'line', 'year'] as const;
const SWITCHES = ['paused', 'trigger', 'plain'] as const;

/** Keeps what is known and well formed; an address typed by hand never breaks a page. */
export function parseSearch(raw: Record<string, unknown>): Search {
  const search: Record<string, unknown> = {};
  for (const name of TEXTS) {
    const value = raw[name];
    if (typeof value === 'string' ? value !== '' : typeof value === 'number') search[name] = String(value);
  }
  for (const name of NUMBERS) {
    const value = Number(raw[name]);
    if (raw[name] !== undefined && raw[name] !== '' && Number.isInteger(value)) search[name] = value;
  }
  for (const name of SWITCHES) if (typeof raw[name] === 'boolean') search[name] = raw[name];
  return search;
}

export function useSearch(): Search {
  return useRouterSearch({ from: '__root__' });
}

/** Changes a part of the address of the page that is open; `undefined` removes. */
export function usePatchSearch(): (patch: Search, push?: boolean) => void {
  const navigate = useNavigate();
  return useCallback(
    (patch, push = false) => {
      void navigate({ to: '.', search: (before: Search) => ({ ...before, ...patch }), replace: !push });
    },
    [navigate],
  );
}
