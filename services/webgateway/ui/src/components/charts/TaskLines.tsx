/** A line for each task over the runs of a DAG. Lines differ by colour and dash; a failure is a cross. */
import { axisTop, linePath, rollingMedian } from '../../lib/chart';
import { formatDuration } from '../../lib/time';
import { Plot, type Scale } from './Plot';
import { MedianLine } from './RunBars';

const HEIGHT = 180;
/** Below this distance of runs, points are not drawn one by one. */
const POINTS_FROM = 6;
/** Below this one, a line is of medians, with what it is of behind it. */
const LINES_FROM = 3;
const MEDIANS = 50;

export const LINE_STYLES: { colour: string; dash?: string }[] = [
  { colour: 'var(--line-1)' },
  { colour: 'var(--line-2)', dash: '6 2' },
  { colour: 'var(--line-3)', dash: '2 2' },
  { colour: 'var(--line-4)' },
  { colour: 'var(--line-5)', dash: '6 2' },
  { colour: 'var(--line-6)', dash: '2 2' },
  { colour: 'var(--line-1)', dash: '8 2 2 2' },
  { colour: 'var(--line-2)', dash: '1 3' },
];

export interface Line {
  name: string;
  /** One of `LINE_STYLES`. */
  style: number;
  /** By run: seconds, or `null` when the task has not ended in it. */
  values: ({ seconds: number; failed: boolean } | null)[];
  median: number | null;
}

interface Props {
  label: string;
  lines: Line[];
  count: number;
  dateOf: (index: number) => string;
  nameOf: (index: number) => string;
  onOpen: (index: number) => void;
}

export function TaskLines({ label, lines, count, dateOf, nameOf, onOpen }: Props) {
  const top = axisTop(lines.flatMap((line) => line.values.map((value) => value?.seconds ?? null)));
  const only = lines.length === 1 ? lines[0] : undefined;
  return (
    <Plot
      label={label}
      count={count}
      top={top}
      height={HEIGHT}
      dateOf={dateOf}
      textOf={(index) =>
        `${nameOf(index)}: ${lines.map((line) => `${line.name} ${valueText(line, index)}`).join(', ')}`
      }
      tip={(index) => (
        <>
          <div className="mono truncate" style={{ marginBottom: 4 }}>
            {nameOf(index)}
          </div>
          {lines.map((line) => (
            <div key={line.name} className="row">
              <LineSample style={line.style} />
              <span className="truncate grow">{line.name}</span>
              <span>{valueText(line, index)}</span>
            </div>
          ))}
        </>
      )}
      onOpen={onOpen}
    >
      {(scale) => (
        <>
          {lines.map((line) => (
            <LinePath key={line.name} line={line} scale={scale} />
          ))}
          {windowOf(count, scale) > 1 && (
            <text className="plot-median-text" x={scale.width - 4} y={12} textAnchor="end">
              lines are medians of {windowOf(count, scale)} runs
            </text>
          )}
          {only && only.median !== null && <MedianLine median={only.median} scale={scale} />}
        </>
      )}
    </Plot>
  );
}

function valueText(line: Line, index: number): string {
  const value = line.values[index];
  if (!value) return 'has not ended';
  return `${formatDuration(Math.max(0, value.seconds))}${value.failed ? ', failed' : ''}`;
}

function windowOf(count: number, scale: Scale): number {
  return scale.step < LINES_FROM ? Math.ceil(count / MEDIANS) : 1;
}

function LinePath({ line, scale }: { line: Line; scale: Scale }) {
  const style = LINE_STYLES[line.style];
  const at = (seconds: number | null, index: number) =>
    seconds === null ? null : { x: scale.x(index) + scale.step / 2, y: scale.y(seconds) };
  const values = line.values.map((value) => value?.seconds ?? null);
  const points = values.map(at);
  const window = windowOf(values.length, scale);
  const drawn = window > 1 ? rollingMedian(values, window).map(at) : points;
  return (
    <g>
      {window > 1 && <path className="task-line faint" d={linePath(points)} stroke={style?.colour} />}
      <path className="task-line" d={linePath(drawn)} stroke={style?.colour} strokeDasharray={style?.dash} />
      {points.map((point, index) => {
        if (!point) return null;
        const alone = !points[index - 1] && !points[index + 1];
        if (line.values[index]?.failed)
          return (
            <path key={index} className="task-failed" d={`M${point.x - 3} ${point.y - 3}l6 6m0 -6l-6 6`} />
          );
        if (scale.step < POINTS_FROM && !alone) return null;
        return <circle key={index} cx={point.x} cy={point.y} r={2} fill={style?.colour} />;
      })}
    </g>
  );
}

export function LineSample({ style }: { style: number }) {
  const drawn = LINE_STYLES[style];
  return (
    <svg width={22} height={8} aria-hidden="true" style={{ flex: 'none' }}>
      <path className="task-line" d="M0 4H22" stroke={drawn?.colour} strokeDasharray={drawn?.dash} />
    </svg>
  );
}
