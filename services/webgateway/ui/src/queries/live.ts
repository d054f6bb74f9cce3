/**
 * Live changes. One EventSource says which DAGs and runs changed; the matching queries are fetched again, lists at
 * most every two seconds and details at most twice a second, so that a busy cluster cannot flood the page. After a
 * lost connection everything is fetched once, since changes may have been missed.
 */
import type { QueryClient } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { API } from './client';

export type Connection = 'connecting' | 'live' | 'reconnecting';

interface Change {
  dags: string[];
  runs: [string, string][];
  parse_errors: boolean;
}

const SILENCE_MS = 40_000;
const RETRY_MS = 2_000;
const DETAIL_MS = 500;
const LIST_MS = 2_000;

let connection: Connection = 'connecting';
const listeners = new Set<() => void>();

function set(next: Connection): void {
  if (next === connection) return;
  connection = next;
  listeners.forEach((listener) => listener());
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => connection,
  );
}

/** Opens the stream and keeps it open; returns how to close it. */
export function startLive(queries: QueryClient): () => void {
  let source: EventSource | null = null;
  let heard = Date.now();
  let lost = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const pending = { dags: new Set<string>(), runs: new Set<string>(), parseErrors: false };
  const timers: { detail?: ReturnType<typeof setTimeout>; list?: ReturnType<typeof setTimeout> } = {};

  const flushDetails = () => {
    timers.detail = undefined;
    const { dags, runs } = pending;
    pending.dags = new Set();
    pending.runs = new Set();
    void queries.invalidateQueries(
      {
        predicate: ({ queryKey: [kind, dagId, runId] }) =>
          (kind === 'dag' && dags.has(String(dagId))) ||
          (kind === 'run' && runs.has(`${String(dagId)}/${String(runId)}`)),
      },
      { cancelRefetch: false },
    );
  };
  const flushLists = () => {
    timers.list = undefined;
    void queries.invalidateQueries(
      {
        predicate: ({ queryKey: [kind] }) =>
          ['dag-list', 'run-list', 'asset-list', 'deadline-list'].includes(String(kind)) ||
          (kind === 'parse-errors' && pending.parseErrors),
      },
      { cancelRefetch: false },
    );
    pending.parseErrors = false;
  };

  const take = (change: Change) => {
    for (const dag of change.dags) pending.dags.add(dag);
    for (const [dag, run] of change.runs) {
      pending.dags.add(dag);
      pending.runs.add(`${dag}/${run}`);
    }
    pending.parseErrors ||= change.parse_errors;
    timers.detail ??= setTimeout(flushDetails, DETAIL_MS);
    timers.list ??= setTimeout(flushLists, LIST_MS);
  };

  const open = () => {
    clearTimeout(retry);
    source?.close();
    source = new EventSource(`${API}/changes`);
    heard = Date.now();
    source.onopen = () => {
      heard = Date.now();
      set('live');
      if (lost) void queries.invalidateQueries();
      lost = false;
    };
    source.addEventListener('ping', () => {
      heard = Date.now();
    });
    source.addEventListener('change', (event) => {
      heard = Date.now();
      take(JSON.parse((event as MessageEvent<string>).data) as Change);
    });
    source.onerror = () => {
      lost = true;
      set('reconnecting');
      source?.close();
      clearTimeout(retry);
      retry = setTimeout(open, RETRY_MS);
    };
  };
  const watch = setInterval(() => {
    if (Date.now() - heard > SILENCE_MS) {
      lost = true;
      set('reconnecting');
      open();
    }
  }, 5_000);
  open();
  return () => {
    clearInterval(watch);
    clearTimeout(retry);
    clearTimeout(timers.detail);
    clearTimeout(timers.list);
    source?.close();
  };
}
