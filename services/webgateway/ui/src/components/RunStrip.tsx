/** The latest 25 runs as thin bars: height is duration, colour and shape are the state. */
import { useNavigate } from '@tanstack/react-router';
import { memo, useState } from 'react';
import { createPortal } from 'react-dom';
import { stateLabel } from '../lib/states';
import { barAt, barHeights, STRIP_SLOTS } from '../lib/strip';
import { elapsedSeconds, formatDuration, formatLocal, formatRelative } from '../lib/time';
import type { RunSummary } from '../queries/client';
import { StateIcon } from './StateIcon';

const SLOT = 6;
const BAR = 4;
const FULL = 20;
const HEIGHT = 26;

export const RunStrip = memo(function RunStrip({ runs }: { runs: RunSummary[] }) {
  const navigate = useNavigate();
  const [hover, setHover] = useState<{ index: number; x: number; y: number } | null>(null);
  const now = Date.now();
  const shown = runs.slice(-STRIP_SLOTS);
  const heights = barHeights(
    shown.map((run) => run.duration_seconds ?? elapsedSeconds(run.start_time, run.end_time, now)),
    FULL,
    3,
  );
  const indexOf = (event: React.MouseEvent<SVGSVGElement>) =>
    barAt(event.clientX - event.currentTarget.getBoundingClientRect().left, shown.length, SLOT);
  const failed = shown.filter((run) => run.state === 'failed').length;
  const run = hover ? shown[hover.index] : undefined;

  return (
    <>
      <svg
        width={SLOT * STRIP_SLOTS}
        height={HEIGHT}
        role="img"
        aria-label={shown.length ? `Latest ${shown.length} runs: ${failed} failed` : 'No runs yet'}
        style={{ display: 'block', flex: 'none', cursor: shown.length ? 'pointer' : 'default' }}
        onMouseMove={(event) => {
          const index = indexOf(event);
          const box = event.currentTarget.getBoundingClientRect();
          setHover(
            index === null
              ? null
              : { index, x: box.left + (index + STRIP_SLOTS - shown.length) * SLOT, y: box.bottom },
          );
        }}
        onMouseLeave={() => setHover(null)}
        onClick={(event) => {
          const index = indexOf(event);
          const target = index === null ? undefined : shown[index];
          event.stopPropagation();
          if (target)
            void navigate({
              to: '/dags/$dagId/runs/$runId',
              params: { dagId: target.dag_id, runId: target.run_id },
            });
        }}
      >
        <path d={`M0 ${FULL + 1.5}H${SLOT * STRIP_SLOTS}`} stroke="var(--border)" />
        {shown.map((item, index) => {
          const x = (index + STRIP_SLOTS - shown.length) * SLOT + 1;
          const height = heights[index] ?? 3;
          const colour = `var(--st-${item.state})`;
          const y = FULL - height + 1;
          if (item.state === 'running' || item.state === 'queued') {
            return (
              <rect
                key={item.run_id}
                x={x + 0.6}
                y={y + 0.6}
                width={BAR - 1.2}
                height={Math.max(2, height - 1.2)}
                fill="none"
                stroke={colour}
                strokeWidth={1.2}
                strokeDasharray={item.state === 'queued' ? '2 1.4' : undefined}
              />
            );
          }
          return (
            <g key={item.run_id} fill={colour} opacity={hover && hover.index !== index ? 0.55 : 1}>
              <rect x={x} y={y} width={BAR} height={height} rx={1} />
              {item.state === 'failed' && <rect x={x} y={FULL + 2.5} width={BAR} height={3.5} rx={1} />}
            </g>
          );
        })}
      </svg>
      {hover && run && createPortal(<StripTip run={run} x={hover.x} y={hover.y} />, document.body)}
    </>
  );
});

function StripTip({ run, x, y }: { run: RunSummary; x: number; y: number }) {
  const now = Date.now();
  const below = y + 150 < window.innerHeight;
  return (
    <div
      className="tip"
      style={{
        position: 'fixed',
        left: Math.min(x - 16, window.innerWidth - 320),
        ...(below ? { top: y + 6 } : { bottom: window.innerHeight - y + 34 }),
      }}
    >
      <div className="row" style={{ fontWeight: 600, marginBottom: 4 }}>
        <StateIcon state={run.state} /> {stateLabel(run.state)}
        <span className="muted" style={{ fontWeight: 400 }}>
          {formatDuration(run.duration_seconds ?? elapsedSeconds(run.start_time, run.end_time, now))}
        </span>
      </div>
      <dl>
        <dt>Run</dt>
        <dd className="mono">{run.run_id}</dd>
        <dt>Started</dt>
        <dd>
          {formatLocal(run.start_time ?? run.queued_time)} (
          {formatRelative(run.start_time ?? run.queued_time, now)})
        </dd>
        {run.reason && (
          <>
            <dt>Reason</dt>
            <dd>{run.reason}</dd>
          </>
        )}
      </dl>
    </div>
  );
}
