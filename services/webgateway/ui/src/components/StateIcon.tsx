import { memo } from 'react';
import { isFinished, stateLabel, TASK_STATES, type AnyState } from '../lib/states';

/** Shapes of the states, drawn once; each differs from the others without colour. 16 × 16. */
const SHAPES: Record<(typeof TASK_STATES)[number], React.ReactNode> = {
  success: (
    <>
      <circle cx="8" cy="8" r="7" />
      <path d="M4.8 8.3l2.2 2.2 4.2-4.6" className="ink" />
    </>
  ),
  failed: (
    <>
      <rect x="1.2" y="1.2" width="13.6" height="13.6" rx="2.4" />
      <path d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6" className="ink" />
    </>
  ),
  upstream_failed: (
    <>
      <path d="M8 1.2l7.2 13H.8z" strokeLinejoin="round" />
      <path d="M8 6v3.6M8 11.8v.2" className="ink" />
    </>
  ),
  up_for_retry: (
    <>
      <path d="M8 .6L15.4 8 8 15.4.6 8z" />
      <path d="M5.6 8a2.5 2.5 0 1 0 .9-1.9M6.4 4.4v1.9h1.9" className="ink thin" />
    </>
  ),
  restarting: (
    <>
      <circle cx="8" cy="8" r="7" />
      <path d="M5 8a3 3 0 1 0 1-2.2M5.9 3.6v2.3h2.3" className="ink thin" />
    </>
  ),
  running: (
    <>
      <circle cx="8" cy="8" r="5.9" className="hollow" />
      <path d="M6.4 5.1v5.8l4.6-2.9z" />
    </>
  ),
  deferred: (
    <>
      <circle cx="8" cy="8" r="7" />
      <path d="M6.2 5.4v5.2M9.8 5.4v5.2" className="ink" />
    </>
  ),
  up_for_reschedule: (
    <>
      <path d="M8 .6L15.4 8 8 15.4.6 8z" />
      <path d="M8 4.9V8l2 1.4" className="ink thin" />
    </>
  ),
  queued: <circle cx="8" cy="8" r="5.9" className="hollow" strokeDasharray="3.1 1.5" />,
  scheduled: <circle cx="8" cy="8" r="5.9" className="hollow" />,
  skipped: (
    <>
      <rect x=".8" y="3" width="14.4" height="10" rx="5" />
      <path d="M5.2 5.6L7.6 8l-2.4 2.4M8.8 5.6L11.2 8l-2.4 2.4" className="ink thin" />
    </>
  ),
  removed: (
    <>
      <circle cx="8" cy="8" r="5.9" className="hollow" />
      <path d="M5 8h6" className="hollow" />
    </>
  ),
  none: <circle cx="8" cy="8" r="2.2" className="hollow" />,
};

export function StateSprite() {
  return (
    <svg width="0" height="0" style={{ position: 'absolute' }} aria-hidden="true">
      {TASK_STATES.map((state) => (
        <symbol key={state} id={`st-${state}`} viewBox="0 0 16 16">
          {SHAPES[state]}
        </symbol>
      ))}
    </svg>
  );
}

interface Props {
  state: AnyState;
  size?: number;
  /** Without a label the icon is decoration beside the word. */
  label?: boolean;
}

export const StateIcon = memo(function StateIcon({ state, size = 14, label = false }: Props) {
  const live = state === 'running' || state === 'restarting';
  return (
    <svg
      className={live ? 'state-icon live' : 'state-icon'}
      style={{ '--st': `var(--st-${state})` } as React.CSSProperties}
      width={size}
      height={size}
      {...(label ? { role: 'img', 'aria-label': stateLabel(state) } : { 'aria-hidden': true })}
    >
      <use href={`#st-${state}`} />
    </svg>
  );
});

export function StateLabel({ state, marked }: { state: AnyState; marked?: boolean }) {
  return (
    <span className="state-label">
      <StateIcon state={state} />
      {stateLabel(state)}
      {marked && isFinished(state) && <span className="chip outline">marked by hand</span>}
    </span>
  );
}
