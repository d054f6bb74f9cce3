/**
 * The log of a try. Lines come from the server in windows around what is looked at, so its size does not matter;
 * critical lines are marked beside the scroll bar and reached with n and p.
 */
import { useVirtualizer } from '@tanstack/react-virtual';
import { FileText } from 'lucide-react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { Empty, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { atLeast, type LogLine } from '../../lib/logWindow';
import { useShortcuts } from '../../lib/shortcuts';
import { formatBytes } from '../../lib/time';
import type { Try } from '../../queries/client';
import { useLog, type TaskKey } from '../../queries/tasks';
import { LogGutter } from './LogGutter';
import { LogRow } from './LogRow';
import { LogTools } from './LogTools';
import { useLogScan } from './useLogScan';

/** Browsers cap the height of an element; longer logs show this many lines at a time. */
const PART = 500_000;
const ROW = 20;

interface Props {
  taskKey: TaskKey;
  attempt: Try;
  live: boolean;
}

export function LogView({ taskKey, attempt, live }: Props) {
  const search = useSearch();
  const patch = usePatchSearch();
  const log = useLog(taskKey, attempt.try_number, live);
  const { window: held, version, ready } = log;
  const [base, setBase] = useState(0);
  const [follow, setFollow] = useState(live && search.line === undefined);
  const [wrap, setWrap] = useState(() => localStorage.getItem('spinner.log.wrap') === '1');
  const [times, setTimes] = useState(() => localStorage.getItem('spinner.log.times') !== '0');
  const [jump, setJump] = useState<number | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const find = search.find?.toLowerCase() ?? '';
  const level = search.level ?? '';

  const scan = useLogScan(log, find !== '' || level !== '');
  const filtered = useMemo(
    () => (level ? held.filter((line) => atLeast(line, level)) : null),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `version` says that the lines changed
    [held, version, level],
  );
  const found = useMemo(
    () =>
      find ? held.filter((line) => line.text.toLowerCase().includes(find)).map((line) => line.line) : [],
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `version` says that the lines changed
    [held, version, find],
  );
  const critical = useMemo(() => {
    const lines = new Set(held.critical);
    for (const evidence of attempt.diagnosis?.evidence ?? []) lines.add(evidence.line);
    return [...lines].sort((a, b) => a - b);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `version` says that the lines changed
  }, [held, version, attempt.diagnosis]);

  const total = held.total;
  const count = filtered ? filtered.length : Math.min(PART, Math.max(0, total - base));
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 20,
    getItemKey: (index) => (filtered ? (filtered[index]?.line ?? index) : base + index + 1),
  });
  useEffect(() => virtual.measure(), [wrap, virtual]);

  const lineAt = (index: number): LogLine | undefined =>
    filtered ? filtered[index] : held.get(base + index + 1);
  const goTo = (line: number, align: 'center' | 'end' | 'start' = 'center') => {
    setFollow(false);
    if (filtered) {
      const index = filtered.findIndex((entry) => entry.line >= line);
      virtual.scrollToIndex(index < 0 ? filtered.length - 1 : index, { align });
      return;
    }
    const part = Math.floor((line - 1) / PART) * PART;
    setBase(part);
    setJump(line);
    log.need(line - 60, line + 60);
    virtual.scrollToIndex(line - 1 - part, { align });
  };

  // The first look: a linked line, the end of a live log, the evidence of a failure, otherwise the start.
  const opened = useRef(false);
  const linked = search.line;
  const evidence = attempt.diagnosis?.evidence.at(-1)?.line;
  useEffect(() => {
    if (!ready || total === 0) return;
    if (linked !== undefined) goTo(linked);
    else if (!opened.current && evidence !== undefined) goTo(evidence);
    else if (!opened.current && attempt.state === 'failed') goTo(total, 'end');
    opened.current = true;
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only when the log arrives or the address names a line
  }, [ready && total > 0, linked]);

  useEffect(() => {
    if (follow && count > 0) virtual.scrollToIndex(count - 1, { align: 'end' });
  }, [follow, count, virtual]);

  const items = virtual.getVirtualItems();
  const firstItem = items[0]?.index ?? 0;
  const lastItem = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (!ready || filtered || count === 0) return;
    log.need(base + firstItem + 1, base + lastItem + 1);
    held.trim(base + firstItem + 1);
  }, [ready, filtered, base, firstItem, lastItem, count, log, held]);

  const here = filtered ? (filtered[firstItem]?.line ?? 1) : base + firstItem + 1;
  const marks = find ? found : critical;
  const step = (direction: 1 | -1) => {
    if (marks.length === 0) return;
    const from = jump ?? here;
    const next = direction === 1 ? marks.find((line) => line > from) : marks.findLast((line) => line < from);
    goTo(next ?? (direction === 1 ? (marks[0] as number) : (marks.at(-1) as number)));
  };
  const toggleWrap = () => {
    localStorage.setItem('spinner.log.wrap', wrap ? '0' : '1');
    setWrap(!wrap);
  };
  const toggleTimes = () => {
    localStorage.setItem('spinner.log.times', times ? '0' : '1');
    setTimes(!times);
  };
  const group = 'Log';
  const findInput = useRef<HTMLInputElement>(null);
  useShortcuts([
    { keys: 'n', label: 'Next critical line or match', group, run: () => step(1) },
    { keys: 'p', label: 'Previous critical line or match', group, run: () => step(-1) },
    { keys: 's', label: 'Search in the log', group, run: () => findInput.current?.focus() },
    { keys: 'w', label: 'Wrap lines', group, run: toggleWrap },
    { keys: 'F', label: 'Follow the end', group, run: () => setFollow(true) },
    { keys: '<', label: 'Start of the log', group, run: () => goTo(1, 'start') },
    { keys: '>', label: 'End of the log', group, run: () => goTo(total, 'end') },
  ]);

  const stages = useMemo(() => {
    const starts: { stage: string; line: number }[] = [];
    let last = '';
    for (const line of held.filter((entry) => entry.stage !== ''))
      if (line.stage !== last) {
        last = line.stage;
        if (!starts.some((start) => start.stage === last)) starts.push({ stage: last, line: line.line });
      }
    return starts;
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `version` says that the lines changed
  }, [held, version]);

  if (log.problem && total === 0)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={log.problem} />
      </div>
    );
  if (!ready) return <Loading label="Loading the log" />;
  return (
    <div className={wrap ? 'log wrap' : 'log'}>
      <LogTools
        input={findInput}
        taskKey={taskKey}
        tryNumber={attempt.try_number}
        stages={stages}
        marks={marks.length}
        finding={find !== ''}
        wrap={wrap}
        times={times}
        live={live}
        follow={follow}
        onStep={step}
        onStage={goTo}
        onWrap={toggleWrap}
        onTimes={toggleTimes}
        onFollow={() => setFollow(!follow)}
      />
      <div className="log-body">
        <div
          className="log-lines"
          ref={scroller}
          tabIndex={0}
          role="log"
          aria-label={`Log of try ${attempt.try_number}`}
          aria-live="off"
          onWheel={(event) => event.deltaY < 0 && setFollow(false)}
        >
          {count === 0 ? (
            <Empty
              title={level ? 'No line at this level' : live ? 'Nothing logged yet' : 'The log is empty'}
              icon={<FileText size={28} strokeWidth={1.5} />}
            >
              <p>
                {level
                  ? 'Choose a lower level.'
                  : live
                    ? 'Lines appear here as the task writes them.'
                    : 'The try ended without writing a line.'}
              </p>
            </Empty>
          ) : (
            <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
              {items.map((item) => {
                const line = lineAt(item.index);
                const number = filtered ? (line?.line ?? 0) : base + item.index + 1;
                const before = item.index > 0 ? lineAt(item.index - 1) : undefined;
                return (
                  <LogRow
                    key={item.key}
                    ref={wrap ? virtual.measureElement : undefined}
                    index={item.index}
                    number={number}
                    line={line}
                    stageStart={Boolean(
                      line?.stage && line.stage !== before?.stage && (before || number === 1),
                    )}
                    top={item.start}
                    times={times}
                    find={find}
                    target={number === linked || number === jump}
                    critical={line?.critical === true || critical.includes(number)}
                    onPick={(picked) => patch({ line: picked })}
                  />
                );
              })}
            </div>
          )}
        </div>
        <LogGutter
          total={total}
          from={here}
          to={filtered ? here : base + lastItem + 1}
          critical={critical}
          found={found}
          onJump={goTo}
        />
      </div>
      <div className="log-foot">
        <span>
          {total.toLocaleString()} {total === 1 ? 'line' : 'lines'}
          {attempt.log_bytes > 0 && ` · ${formatBytes(attempt.log_bytes)}`}
        </span>
        {held.leftOutLine !== null && (
          <button
            type="button"
            className="chip warn"
            title="The log is longer than what is kept of one: go to the line that says what is missing"
            onClick={() => goTo(held.leftOutLine as number)}
          >
            the middle is left out
          </button>
        )}
        {held.truncated && <span className="chip warn">long lines are cut</span>}
        {critical.length > 0 && <span>{critical.length} critical</span>}
        {find && (
          <span role="status">
            {found.length.toLocaleString()} matches{scan.text && ` in ${scan.text}`}
          </span>
        )}
        {level && scan.text && !find && <span role="status">of {scan.text}</span>}
        {log.problem && <span style={{ color: 'var(--warn)' }}>{log.problem.message}</span>}
        {!filtered && total > PART && (
          <span className="row right">
            <button
              type="button"
              className="btn ghost small"
              disabled={base === 0}
              onClick={() => goTo(Math.max(1, base - PART + 1), 'start')}
            >
              Earlier
            </button>
            lines {(base + 1).toLocaleString()} to {Math.min(total, base + PART).toLocaleString()}
            <button
              type="button"
              className="btn ghost small"
              disabled={base + PART >= total}
              onClick={() => goTo(base + PART + 1, 'start')}
            >
              Later
            </button>
          </span>
        )}
        {live && (
          <span className="log-live right">
            <i aria-hidden="true" /> live
          </span>
        )}
      </div>
    </div>
  );
}
