import {
  ArrowDownToLine,
  Clock,
  Download,
  Search as SearchIcon,
  WrapText,
  ChevronDown,
  ChevronUp,
} from 'lucide-react';
import { useEffect, useState, type RefObject } from 'react';
import { IconButton } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { logUrl, type TaskKey } from '../../queries/tasks';

interface Props {
  input: RefObject<HTMLInputElement | null>;
  taskKey: TaskKey;
  tryNumber: number;
  stages: { stage: string; line: number }[];
  marks: number;
  finding: boolean;
  wrap: boolean;
  times: boolean;
  live: boolean;
  follow: boolean;
  onStep: (direction: 1 | -1) => void;
  onStage: (line: number, align: 'start') => void;
  onWrap: () => void;
  onTimes: () => void;
  onFollow: () => void;
}

export function LogTools(props: Props) {
  const search = useSearch();
  const patch = usePatchSearch();
  const [text, setText] = useState(search.find ?? '');
  useEffect(() => {
    if (text === (search.find ?? '')) return;
    const timer = setTimeout(() => patch({ find: text || undefined, line: undefined }), 200);
    return () => clearTimeout(timer);
  }, [text, search.find, patch]);
  const what = props.finding ? 'match' : 'critical line';
  return (
    <div className="log-tools">
      <div className="searchbox" style={{ flex: '1 1 160px', maxWidth: 280 }}>
        <SearchIcon size={14} />
        <input
          ref={props.input}
          className="field"
          type="search"
          placeholder="Search in the log"
          aria-label="Search in the log"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter') props.onStep(event.shiftKey ? -1 : 1);
            if (event.key === 'Escape') event.currentTarget.blur();
          }}
        />
      </div>
      <select
        className={search.level ? 'field on' : 'field'}
        aria-label="Least level"
        value={search.level ?? ''}
        onChange={(event) => patch({ level: event.target.value || undefined })}
      >
        <option value="">All levels</option>
        <option value="INFO">Info and above</option>
        <option value="WARNING">Warnings and above</option>
        <option value="ERROR">Errors</option>
      </select>
      {props.stages.length > 1 && (
        <select
          className="field"
          aria-label="Go to a stage"
          value=""
          onChange={(event) => props.onStage(Number(event.target.value), 'start')}
        >
          <option value="">Stage</option>
          {props.stages.map(({ stage, line }) => (
            <option key={stage} value={line}>
              {stage}
            </option>
          ))}
        </select>
      )}
      <span className="row" style={{ gap: 0 }}>
        <IconButton
          label={`Previous ${what} (p)`}
          disabled={props.marks === 0}
          onClick={() => props.onStep(-1)}
        >
          <ChevronUp size={15} />
        </IconButton>
        <IconButton label={`Next ${what} (n)`} disabled={props.marks === 0} onClick={() => props.onStep(1)}>
          <ChevronDown size={15} />
        </IconButton>
      </span>
      <span className="row right" style={{ gap: 2 }}>
        {props.live && (
          <IconButton label="Follow the end (F)" aria-pressed={props.follow} onClick={props.onFollow}>
            <ArrowDownToLine size={15} />
          </IconButton>
        )}
        <IconButton label="Times" aria-pressed={props.times} onClick={props.onTimes}>
          <Clock size={15} />
        </IconButton>
        <IconButton label="Wrap lines (w)" aria-pressed={props.wrap} onClick={props.onWrap}>
          <WrapText size={15} />
        </IconButton>
        <a
          className="btn ghost icon"
          href={logUrl(props.taskKey, props.tryNumber, '/raw')}
          download
          aria-label="Download the log"
          title="Download the log"
        >
          <Download size={15} />
        </a>
      </span>
    </div>
  );
}
