import { AlertTriangle, Check, X } from 'lucide-react';
import { useSyncExternalStore, type ReactNode } from 'react';
import { asProblem } from '../queries/client';

interface Toast {
  id: number;
  good: boolean;
  title: ReactNode;
  text?: ReactNode;
}

let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

function change(list: Toast[]): void {
  toasts = list;
  listeners.forEach((listener) => listener());
}

function add(toast: Omit<Toast, 'id'>): void {
  const id = next;
  next += 1;
  change([...toasts.slice(-3), { ...toast, id }]);
  setTimeout(() => dismiss(id), toast.good ? 5_000 : 12_000);
}

function dismiss(id: number): void {
  change(toasts.filter((toast) => toast.id !== id));
}

export function toastGood(title: ReactNode, text?: ReactNode): void {
  add({ good: true, title, text });
}

export function toastProblem(action: string, error: unknown): void {
  const problem = asProblem(error);
  add({ good: false, title: `${action}: ${problem.message}`, text: problem.fix });
}

export function Toasts() {
  const list = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((toast) => (
        <div key={toast.id} className={toast.good ? 'toast good' : 'toast bad'}>
          {toast.good ? (
            <Check size={16} color="var(--st-success)" style={{ marginTop: 2, flex: 'none' }} />
          ) : (
            <AlertTriangle size={16} color="var(--danger)" style={{ marginTop: 2, flex: 'none' }} />
          )}
          <div className="grow" style={{ overflowWrap: 'anywhere' }}>
            <strong>{toast.title}</strong>
            {toast.text && <div className="muted small">{toast.text}</div>}
          </div>
          <button
            type="button"
            className="btn ghost small icon"
            aria-label="Dismiss"
            onClick={() => dismiss(toast.id)}
          >
            <X size={13} />
          </button>
        </div>
      ))}
    </div>
  );
}
