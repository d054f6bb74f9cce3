/** The cells of a year. One of them has the focus; arrows move it by a day or a week, Enter opens the day's runs. */
import { useEffect, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import {
  countOf,
  dayLabel,
  mainState,
  monthColumns,
  moveDay,
  weekday,
  weeksOf,
  type Counts,
} from '../../lib/calendar';

const CELL = 18;
const STEP = 22;
const LEFT = 36;
const TOP = 20;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const WEEKDAYS: [number, string][] = [
  [0, 'Mon'],
  [2, 'Wed'],
  [4, 'Fri'],
];

interface Props {
  year: number;
  today: string;
  days: ReadonlyMap<string, { counts: Counts }>;
  planned: ReadonlyMap<string, number>;
  onOpen: (date: string) => void;
}

export function YearGrid({ year, today, days, planned, onOpen }: Props) {
  const weeks = weeksOf(year);
  const [focused, setFocused] = useState<string | null>(null);
  const [tip, setTip] = useState<{ date: string; at: DOMRect } | null>(null);
  const grid = useRef<SVGSVGElement>(null);
  const start = today.startsWith(String(year)) ? today : `${year}-12-31`;
  const reachable = focused?.startsWith(String(year)) ? focused : start;
  const label = (date: string) => dayLabel(date, days.get(date)?.counts, planned.get(date) ?? 0);
  // On a narrow window: the part that one looks at first, and not January.
  useEffect(() => {
    const box = grid.current?.parentElement;
    const column = weeksOf(year).findIndex((week) => week.includes(start));
    if (box) box.scrollLeft = LEFT + (column + 4) * STEP - box.clientWidth;
  }, [year, start]);
  const go = (date: string) => {
    setFocused(date);
    grid.current?.querySelector<SVGGElement>(`[data-date="${date}"]`)?.focus();
  };
  return (
    <div className="year-grid">
      <svg
        ref={grid}
        width={LEFT + weeks.length * STEP}
        height={TOP + 7 * STEP}
        role="grid"
        aria-label={`Runs of ${year} by day`}
        onMouseLeave={() => setTip(null)}
      >
        {monthColumns(weeks).map(({ column, month }) => (
          <text key={month} x={LEFT + column * STEP} y={12} aria-hidden="true">
            {MONTHS[month]}
          </text>
        ))}
        {WEEKDAYS.map(([day, name]) => (
          <text key={day} x={0} y={TOP + day * STEP + 13} aria-hidden="true">
            {name}
          </text>
        ))}
        {[0, 1, 2, 3, 4, 5, 6].map((row) => (
          <g key={row} role="row">
            {weeks.map((week, column) => {
              const date = week[row];
              if (!date) return null;
              const x = LEFT + column * STEP;
              const y = TOP + weekday(date) * STEP;
              const counts = days.get(date)?.counts ?? {};
              return (
                <g
                  key={date}
                  data-date={date}
                  role="gridcell"
                  tabIndex={date === reachable ? 0 : -1}
                  aria-label={label(date)}
                  aria-current={date === today ? 'date' : undefined}
                  style={{
                    cursor: countOf(counts) > 0 || planned.has(date) ? 'pointer' : 'default',
                    outline: 'none',
                  }}
                  onMouseEnter={(event) => setTip({ date, at: event.currentTarget.getBoundingClientRect() })}
                  onFocus={(event) => {
                    setFocused(date);
                    if (event.currentTarget.matches(':focus-visible'))
                      setTip({ date, at: event.currentTarget.getBoundingClientRect() });
                  }}
                  onBlur={() => setTip(null)}
                  onClick={() => onOpen(date)}
                  onKeyDown={(event) => {
                    if (event.key === 'Escape') setTip(null);
                    if (event.key === 'Enter' || event.key === ' ') {
                      event.preventDefault();
                      onOpen(date);
                    }
                    const next = moveDay(date, event.key);
                    if (!next) return;
                    event.preventDefault();
                    go(next);
                  }}
                >
                  {/* The space between cells belongs to them. */}
                  <rect x={x - 2} y={y - 2} width={STEP} height={STEP} fill="transparent" />
                  <DayCell x={x} y={y} size={CELL} counts={counts} planned={planned.get(date) ?? 0} />
                  {date === today && (
                    <rect
                      className="day-today"
                      x={x - 1.5}
                      y={y - 1.5}
                      width={CELL + 3}
                      height={CELL + 3}
                      rx={4}
                    />
                  )}
                  {tip?.date === date && (
                    <rect
                      className="day-chosen"
                      x={x - 1}
                      y={y - 1}
                      width={CELL + 2}
                      height={CELL + 2}
                      rx={4}
                    />
                  )}
                </g>
              );
            })}
          </g>
        ))}
      </svg>
      {tip && createPortal(<DayTip text={label(tip.date)} at={tip.at} />, document.body)}
    </div>
  );
}

function DayTip({ text, at }: { text: string; at: DOMRect }) {
  const [day, what] = text.split(/: (.*)/);
  return (
    <div
      className="tip"
      style={{ position: 'fixed', top: at.bottom + 6, left: Math.min(at.left, window.innerWidth - 260) }}
    >
      <strong>{day}</strong>
      <br />
      {what}
    </div>
  );
}

interface CellProps {
  x: number;
  y: number;
  size: number;
  counts: Counts;
  planned: number;
}

/** The colour of what most runs did, a band at the foot for those that failed, and shapes beside the colours. */
export function DayCell({ x, y, size, counts, planned }: CellProps) {
  const state = mainState(counts);
  const box = { x, y, width: size, height: size, rx: 3 };
  if (state === null)
    return planned > 0 ? (
      <>
        <rect {...box} className="day-planned" x={x + 0.5} y={y + 0.5} width={size - 1} height={size - 1} />
        <circle className="day-planned-dot" cx={x + size / 2} cy={y + size / 2} r={2} />
      </>
    ) : (
      <rect {...box} className="day-empty" />
    );
  const colour = `var(--st-${state})`;
  if (state === 'running' || state === 'queued')
    return (
      <>
        <rect
          x={x + 1}
          y={y + 1}
          width={size - 2}
          height={size - 2}
          rx={3}
          fill="none"
          stroke={colour}
          strokeWidth={2}
          strokeDasharray={state === 'queued' ? '3 2' : undefined}
        />
        {(counts.failed ?? 0) > 0 && (
          <FailedBand {...{ x, y, size }} share={(counts.failed ?? 0) / countOf(counts)} />
        )}
      </>
    );
  const failed = counts.failed ?? 0;
  return (
    <>
      <rect {...box} fill={colour} />
      {state === 'failed' ? (
        <path
          className="day-ink"
          d={`M${x + size * 0.33} ${y + size * 0.33}l${size * 0.34} ${size * 0.34}m0 ${-size * 0.34}l${-size * 0.34} ${size * 0.34}`}
        />
      ) : (
        failed > 0 && <FailedBand {...{ x, y, size }} share={failed / countOf(counts)} />
      )}
    </>
  );
}

function FailedBand({ x, y, size, share }: { x: number; y: number; size: number; share: number }) {
  const height = Math.max(4, Math.round(size * share));
  return (
    <path
      fill="var(--st-failed)"
      stroke="var(--surface)"
      d={`M${x} ${y + size - height}h${size}v${height - 3}a3 3 0 0 1 -3 3h${6 - size}a3 3 0 0 1 -3 -3z`}
    />
  );
}
