/** Light, dark or the system's choice; the choice is stored in the browser. */
import { useSyncExternalStore } from 'react';

export type ThemeChoice = 'system' | 'light' | 'dark';
const KEY = 'spinner.theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

export function themeChoice(): ThemeChoice {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === 'light' || stored === 'dark' ? stored : 'system';
  } catch {
    return 'system';
  }
}

export function effectiveTheme(): 'light' | 'dark' {
  const choice = themeChoice();
  return choice === 'system' ? (dark.matches ? 'dark' : 'light') : choice;
}

function apply(): void {
  document.documentElement.dataset.theme = effectiveTheme();
  listeners.forEach((listener) => listener());
}

export function setTheme(choice: ThemeChoice): void {
  try {
    if (choice === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    document.documentElement.dataset.theme = choice === 'dark' ? 'dark' : 'light';
  }
  apply();
}

dark.addEventListener('change', apply);
apply();

export function useTheme(): { choice: ThemeChoice; theme: 'light' | 'dark' } {
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    choice: useSyncExternalStore(subscribe, themeChoice),
    theme: useSyncExternalStore(subscribe, effectiveTheme),
  };
}
