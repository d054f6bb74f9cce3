/** Whether the window is as narrow as a phone's: then pages leave out what can wait. The same width as in phone.css. */
import { useSyncExternalStore } from 'react';

const query = window.matchMedia('(max-width: 720px)');

function subscribe(onChange: () => void): () => void {
  query.addEventListener('change', onChange);
  return () => query.removeEventListener('change', onChange);
}

const matches = () => query.matches;

export function usePhone(): boolean {
  return useSyncExternalStore(subscribe, matches, matches);
}
