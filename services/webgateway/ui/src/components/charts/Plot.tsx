/**
 * What the charts share: an axis of seconds, a place for each run, one of which is chosen by pointer or keyboard and
 * described beside it. To a screen reader it is a slider over the runs that says each one's text.
 */
import { useState, type KeyboardEvent, type ReactNode } from 'react';
import { createPortal } from 'react-dom';
import { axisTicks, labelPlaces, movePlace, placeAt } from '../../lib/chart';
import { formatDuration } from '../../lib/time';
import { useWidth } from './useWidth';
import './charts.css';

const GUTTER = 64;
/** How wide a date below the axis is, px. */
const LABEL = 76;
const FOOT = 24;
const TIP_WIDTH = 300;

export interface Scale {
  /** Left edge of a run's place, and the width of all places. */
  x: (index: number) => number;
  step: number;
  /** From seconds to pixels from the top. */
  y: (seconds: number) => number;
  height: number;
  width: number;
}

interface Props {
  label: string;
  count: number;
  /** Seconds at the top. */
  top: number;
  height: number;
  /** Below the axis. */
  dateOf: (index: number) => string;
  textOf: (index: number) => string;
  tip: (index: number) => ReactNode;
  onOpen: (index: number) => void;
  children: (scale: Scale) => ReactNode;
}

export function Plot({ label, count, top, height, dateOf, textOf, tip, onOpen, children }: Props) {
  const [box, whole] = useWidth<HTMLDivElement>();
  const [chosen, setChosen] = useState<number | null>(null);
  const [focused, setFocused] = useState<number | null>(null);
  const at = Math.min(focused ?? count - 1, count - 1);
  const width = Math.max(0, whole - GUTTER);
  const step = count > 0 ? width / count : 0;
  const scale: Scale = {
    x: (index) => GUTTER + index * step,
    step,
    y: (seconds) => height - (Math.min(Math.max(seconds, 0), top) / top) * height,
    height,
    width: whole,
  };
  const shown = chosen !== null && chosen < count ? chosen : null;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      onOpen(at);
      return;
    }
    if (event.key === 'Escape') setChosen(null);
    const next = movePlace(at, count, event.key);
    if (next === null) return;
    event.preventDefault();
    setFocused(next);
    setChosen(next);
  };
  const pointed = (event: React.MouseEvent) => {
    const left = event.currentTarget.getBoundingClientRect().left + GUTTER;
    return placeAt(event.clientX - left, width, count);
  };
  return (
    <div
      ref={box}
      className="plot"
      role="slider"
      tabIndex={0}
      aria-label={label}
      aria-orientation="horizontal"
      aria-valuemin={1}
      aria-valuemax={count}
      aria-valuenow={at + 1}
      aria-valuetext={textOf(at)}
      style={{ height: height + FOOT, cursor: shown === null ? 'default' : 'pointer' }}
      onKeyDown={onKeyDown}
      onFocus={(event) => event.currentTarget.matches(':focus-visible') && setChosen(at)}
      onBlur={() => setChosen(null)}
      onMouseMove={(event) => setChosen(pointed(event))}
      onMouseLeave={() => setChosen(null)}
      onClick={(event) => {
        const index = pointed(event);
        if (index !== null) onOpen(index);
      }}
    >
      {whole > 0 && (
        <svg width={whole} height={height + FOOT} aria-hidden="true">
          {axisTicks(top).map((seconds) => (
            <g key={seconds}>
              <path className="plot-line" d={`M${GUTTER} ${scale.y(seconds) + 0.5}H${whole}`} />
              <text x={GUTTER - 8} y={scale.y(seconds) + 4} textAnchor="end">
                {seconds === 0 ? '0' : formatDuration(seconds).replace(/ 00[smh]$/, '')}
              </text>
            </g>
          ))}
          {shown !== null && (
            <rect
              className="plot-chosen"
              x={scale.x(shown) + step / 2 - Math.max(step, 3) / 2}
              y={0}
              width={Math.max(step, 3)}
              height={height + 6}
            />
          )}
          {children(scale)}
          {labelPlaces(count, width).map((index) => {
            const middle = scale.x(index) + step / 2;
            const fits = middle + LABEL / 2 <= whole;
            return (
              <text
                key={index}
                x={fits ? middle : whole}
                y={height + 20}
                textAnchor={fits ? 'middle' : 'end'}
              >
                {dateOf(index)}
              </text>
            );
          })}
        </svg>
      )}
      {shown !== null &&
        box.current &&
        createPortal(
          <PlotTip box={box.current} x={scale.x(shown) + step}>
            {tip(shown)}
          </PlotTip>,
          document.body,
        )}
    </div>
  );
}

/** Beside the chosen place, on the side where there is room; it never covers the place itself. */
function PlotTip({ box, x, children }: { box: Element; x: number; children: ReactNode }) {
  const at = box.getBoundingClientRect();
  const right = at.left + x + 12;
  const fits = right + TIP_WIDTH < window.innerWidth;
  return (
    <div
      className="tip"
      style={{
        position: 'fixed',
        top: Math.max(8, at.top + 8),
        width: TIP_WIDTH,
        ...(fits ? { left: right } : { right: Math.max(8, window.innerWidth - at.left - x + 24) }),
      }}
    >
      {children}
    </div>
  );
}
