/** A bar for each run: how long it waited below, how long it took above, in the colour of its state. */
import type { ReactNode } from 'react';
import { axisTop, boxesPath, type Box } from '../../lib/chart';
import { RUN_STATES, type RunState } from '../../lib/states';
import { formatDuration } from '../../lib/time';
import { Plot, type Scale } from './Plot';

const HEIGHT = 200;
/** A bar always shows, however short. */
const LEAST = 1.5;

export interface Bar {
  key: string;
  state: RunState;
  wait: number;
  work: number;
  date: string;
  text: string;
}

interface Props {
  label: string;
  bars: Bar[];
  median: number | null;
  tip: (index: number) => ReactNode;
  onOpen: (index: number) => void;
}

export function RunBars({ label, bars, median, tip, onOpen }: Props) {
  const top = axisTop(bars.map((bar) => bar.wait + bar.work));
  return (
    <Plot
      label={label}
      count={bars.length}
      top={top}
      height={HEIGHT}
      dateOf={(index) => bars[index]?.date ?? ''}
      textOf={(index) => bars[index]?.text ?? ''}
      tip={tip}
      onOpen={onOpen}
    >
      {(scale) => (
        <>
          <Bars bars={bars} top={top} scale={scale} />
          {median !== null && <MedianLine median={median} scale={scale} />}
        </>
      )}
    </Plot>
  );
}

function Bars({ bars, top, scale }: { bars: Bar[]; top: number; scale: Scale }) {
  const gap = scale.step > 5 ? 2 : scale.step > 2.5 ? 1 : 0;
  const width = Math.min(28, Math.max(0.8, scale.step - gap));
  const waits: Box[] = [];
  const marks: Box[] = [];
  const cut: Box[] = [];
  const works: Record<RunState, Box[]> = { queued: [], running: [], success: [], failed: [] };
  bars.forEach((bar, index) => {
    const x = scale.x(index) + (scale.step - width) / 2;
    const middle = scale.y(bar.wait);
    const high = Math.min(scale.y(bar.wait + bar.work), middle - (bar.work > 0 ? LEAST : 0));
    if (bar.wait > 0) waits.push({ x, y: middle, width, height: scale.height - middle });
    if (bar.work > 0) works[bar.state].push({ x, y: high, width, height: middle - high });
    // Red is told by a mark too.
    if (bar.state === 'failed') marks.push({ x, y: scale.height + 2, width, height: 3 });
    if (bar.wait + bar.work > top) cut.push({ x, y: 2, width, height: 2 });
  });
  return (
    <>
      <path className="bar-wait" d={boxesPath(waits)} />
      {RUN_STATES.map((state) => (
        <path
          key={state}
          className={`bar-${state}`}
          fill={`var(--st-${state})`}
          d={boxesPath(works[state])}
        />
      ))}
      <path fill="var(--st-failed)" d={boxesPath(marks)} />
      <path className="bar-cut" d={boxesPath(cut)} />
    </>
  );
}

export function MedianLine({ median, scale }: { median: number; scale: Scale }) {
  const y = Math.round(scale.y(median)) + 0.5;
  return (
    <>
      <path className="plot-median" d={`M${scale.x(0)} ${y}H${scale.width}`} />
      <text className="plot-median-text" x={scale.width - 4} y={y < 16 ? y + 14 : y - 5} textAnchor="end">
        median {formatDuration(median)}
      </text>
    </>
  );
}
