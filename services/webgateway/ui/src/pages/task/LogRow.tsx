import { memo, type Ref } from 'react';
import { stripAnsi, type LogLine } from '../../lib/logWindow';
import { formatClock, formatUtc } from '../../lib/time';

/** The logger of the line that stands for what a long log lacks. */
const LEFT_OUT = 'spinner.log.left_out';

interface Props {
  ref?: Ref<HTMLDivElement>;
  index: number;
  number: number;
  line: LogLine | undefined;
  stageStart: boolean;
  top: number;
  times: boolean;
  find: string;
  target: boolean;
  critical: boolean;
  onPick: (line: number) => void;
}

export const LogRow = memo(function LogRow(props: Props) {
  const { line, number } = props;
  const names = ['log-line'];
  if (props.critical) names.push('critical');
  if (props.target) names.push('target');
  if (props.stageStart) names.push('stage-start');
  if (line?.level === 'DEBUG') names.push('debug');
  if (line?.logger === LEFT_OUT) names.push('left-out');
  return (
    <div
      ref={props.ref}
      data-index={props.index}
      className={names.join(' ')}
      style={{ transform: `translateY(${props.top}px)` }}
    >
      <button
        type="button"
        className="log-no"
        tabIndex={-1}
        title="Link to this line"
        onClick={() => props.onPick(number)}
      >
        {number}
      </button>
      {props.times && (
        <span className="log-time" title={formatUtc(line?.time)}>
          {formatClock(line?.time)}
        </span>
      )}
      <span className={`log-level ${line?.level ?? ''}`}>{shortLevel(line?.level)}</span>
      <span className="log-text">
        {line ? <Marked text={stripAnsi(line.text)} find={props.find} /> : <span className="faint">…</span>}
      </span>
      {props.stageStart && <span className="log-stage">{line?.stage}</span>}
    </div>
  );
});

function shortLevel(level: string | undefined): string {
  if (level === 'WARNING') return 'WARN';
  if (level === 'CRITICAL') return 'CRIT';
  return level ?? '';
}

function Marked({ text, find }: { text: string; find: string }) {
  if (!find) return text;
  const parts: React.ReactNode[] = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(find); at >= 0; at = lower.indexOf(find, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + find.length)}</mark>);
    from = at + find.length;
  }
  parts.push(text.slice(from));
  return parts;
}
