/**
 * Keyboard shortcuts. Components register keys while mounted; the latest registration of a key wins, and the `?`
 * dialog lists what is registered. Keys are single ("j"), sequences ("g h") or with the platform's command key
 * ("mod+k"). Nothing fires while the user types into a field, except keys with `mod`.
 */
import { useEffect, useRef } from 'react';

export interface Shortcut {
  keys: string;
  label: string;
  group: string;
  run: (event: KeyboardEvent) => void;
}

const registered: Shortcut[] = [];
const listeners = new Set<() => void>();
let pending = '';
let pendingUntil = 0;

export function useShortcuts(shortcuts: Shortcut[]): void {
  const latest = useRef(shortcuts);
  useEffect(() => {
    latest.current = shortcuts;
  });
  const signature = shortcuts.map((shortcut) => shortcut.keys).join('|');
  useEffect(() => {
    const mine = latest.current.map((shortcut, index) => ({
      ...shortcut,
      run: (event: KeyboardEvent) => latest.current[index]?.run(event),
    }));
    registered.push(...mine);
    listeners.forEach((listener) => listener());
    return () => {
      for (const shortcut of mine) registered.splice(registered.indexOf(shortcut), 1);
      listeners.forEach((listener) => listener());
    };
  }, [signature]);
}

export function registeredShortcuts(): Shortcut[] {
  return [...new Map(registered.map((shortcut) => [shortcut.keys, shortcut])).values()];
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}

export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.altKey) return;
  const mod = event.metaKey || event.ctrlKey;
  const key = mod ? `mod+${event.key.toLowerCase()}` : event.key;
  if (!mod && (isTyping(event.target) || document.querySelector('[role="dialog"],[role="menu"]'))) return;
  const sequence = pending && Date.now() < pendingUntil ? `${pending} ${key}` : key;
  pending = '';
  const match =
    registered.findLast((shortcut) => shortcut.keys === sequence) ??
    registered.findLast((shortcut) => shortcut.keys === key);
  if (match) {
    event.preventDefault();
    match.run(event);
  } else if (registered.some((shortcut) => shortcut.keys.startsWith(`${key} `))) {
    pending = key;
    pendingUntil = Date.now() + 1200;
  }
}
