/** One ticking clock for all relative times on the page. */
import { useSyncExternalStore } from 'react';

let now = Date.now();
const listeners = new Set<() => void>();
setInterval(() => {
  if (document.hidden) return;
  now = Date.now();
  listeners.forEach((listener) => listener());
}, 1000);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Milliseconds since the epoch, refreshed every second; `every` (seconds) rounds it to render less often. */
export function useNow(every = 1): number {
  const rounded = () => Math.floor(now / 1000 / every) * every * 1000;
  return useSyncExternalStore(subscribe, rounded, rounded);
}
