/** What would happen: the DAG's next runs, or a backfill, on virtual time. Nothing is written. */
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { FlaskConical } from 'lucide-react';
import { useMemo, useState } from 'react';
import { useDebounce } from 'use-debounce';
import { DataTable, type Column } from '../../components/DataTable';
import { StateIcon } from '../../components/StateIcon';
import { Empty, ExactTime, Loading, Problem, RelativeTime } from '../../components/ui';
import { limitWords, markAt, rowLength, rowsOf, waitSeconds, type Row } from '../../lib/simulation';
import { stateLabel, type RunState } from '../../lib/states';
import { elapsedSeconds, formatDuration, formatLocal, formatUtc, zoneName } from '../../lib/time';
import type { Schemas } from '../../queries/client';
import { simulationQuery, type SimulatedRun, type Wish } from '../../queries/simulation';
import './simulate.css';

const PERIODS: [number, string][] = [
  [1, 'Next day'],
  [7, 'Next 7 days'],
  [30, 'Next 30 days'],
  [90, 'Next 90 days'],
];

/** A pause in typing after which the simulation is asked for. */
const TYPING_MILLISECONDS = 300;

export function SimulateView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const [wish, setWish] = useState<Wish>({ days: 7, maxActiveRuns: 1 });
  const [asked] = useDebounce(wish, TYPING_MILLISECONDS);
  const found = useQuery(simulationQuery(dagId, asked));
  return (
    <div className="simulate">
      <Controls wish={wish} onChange={setWish} />
      {found.isPending ? (
        <Loading rows={8} label="Simulating" />
      ) : found.isError ? (
        <Problem error={found.error} retry={() => void found.refetch()} />
      ) : (
        <div style={{ opacity: found.isPlaceholderData ? 0.5 : 1 }} aria-busy={found.isPlaceholderData}>
          <Outcome result={found.data} />
        </div>
      )}
    </div>
  );
}

function Controls({ wish, onChange }: { wish: Wish; onChange: (wish: Wish) => void }) {
  const [backfill, setBackfill] = useState(false);
  return (
    <div className="row wrap simulate-controls">
      <label className="labelled">
        <span>What</span>
        <select
          className="field"
          value={backfill ? 'backfill' : String(wish.days)}
          onChange={(event) => {
            const chosen = event.target.value;
            setBackfill(chosen === 'backfill');
            if (chosen !== 'backfill')
              onChange({ ...wish, days: Number(chosen), from: undefined, to: undefined });
          }}
        >
          {PERIODS.map(([days, label]) => (
            <option key={days} value={days}>
              {label}
            </option>
          ))}
          <option value="backfill">A backfill</option>
        </select>
      </label>
      {backfill && (
        <>
          <label className="labelled">
            <span>From (UTC)</span>
            <input
              className="field"
              type="date"
              value={wish.from ?? ''}
              onChange={(event) => onChange({ ...wish, from: event.target.value || undefined })}
            />
          </label>
          <label className="labelled">
            <span>To (UTC)</span>
            <input
              className="field"
              type="date"
              value={wish.to ?? ''}
              onChange={(event) => onChange({ ...wish, to: event.target.value || undefined })}
            />
          </label>
          <label className="labelled">
            <span>Runs at once</span>
            <input
              className="field"
              type="number"
              min={1}
              max={1000}
              value={wish.maxActiveRuns}
              onChange={(event) =>
                onChange({ ...wish, maxActiveRuns: Math.max(1, Number(event.target.value)) })
              }
            />
          </label>
        </>
      )}
      <label className="labelled">
        <span>Seconds a task (empty: as lately)</span>
        <input
          className="field"
          type="number"
          min={0}
          value={wish.duration ?? ''}
          onChange={(event) =>
            onChange({
              ...wish,
              duration: event.target.value === '' ? undefined : Number(event.target.value),
            })
          }
        />
      </label>
      <span className="muted right">Virtual time: nothing runs, nothing is written.</span>
    </div>
  );
}

function Outcome({ result }: { result: Schemas['SimulationResult'] }) {
  const length = rowLength(result.start, result.end);
  const rows = useMemo(() => rowsOf(result.runs, length, result.end), [result, length]);
  if (result.run_count === 0)
    return (
      <Empty title="Nothing would run" icon={<FlaskConical size={28} strokeWidth={1.5} />}>
        <p>The schedule has no run in this period. Widen it, or simulate a backfill.</p>
      </Empty>
    );
  return (
    <>
      <dl className="facts-line">
        <Fact name="Runs" value={result.run_count.toLocaleString()} />
        <Fact name="Failed" value={result.failed_run_count.toLocaleString()} />
        <Fact name="Tasks" value={result.task_count.toLocaleString()} />
        <Fact name="Most tasks at once" value={result.peak_running_tasks.toLocaleString()} />
        <div>
          <dt>Until</dt>
          <dd>
            <ExactTime value={result.end} />
            {result.stopped && ` · stopped: ${result.stopped}`}
          </dd>
        </div>
      </dl>
      <Limits limits={result.limits} />
      <Timeline rows={rows} length={length} />
      <RunList runs={result.runs} />
      {result.runs.length < result.run_count && (
        <p className="muted">
          The first {result.runs.length.toLocaleString()} of {result.run_count.toLocaleString()} runs are
          shown.
        </p>
      )}
    </>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Limits({ limits }: { limits: Schemas['SimulatedLimit'][] }) {
  if (limits.length === 0) return <p className="muted">No limit makes anything wait.</p>;
  return (
    <table className="simulate-limits">
      <caption className="sr-only">Limits that make runs or tasks wait</caption>
      <thead>
        <tr>
          <th scope="col">Limit</th>
          <th scope="col">Waits</th>
          <th scope="col">Longest</th>
          <th scope="col">Together</th>
          <th scope="col">First</th>
        </tr>
      </thead>
      <tbody>
        {limits.map((limit) => (
          <tr key={`${limit.kind}/${limit.name}`}>
            <th scope="row" className="mono">
              {limitWords(limit)}
            </th>
            <td>{limit.waits.toLocaleString()}</td>
            <td>{formatDuration(limit.longest_wait_seconds)}</td>
            <td>{formatDuration(limit.wait_seconds)}</td>
            <td>
              <ExactTime value={limit.first_time} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const DAY_MARKS = [0, 6, 12, 18];
const HOUR_MARKS = [0, 15, 30, 45];

function Timeline({ rows, length }: { rows: Row[]; length: number }) {
  const days = length > 3_600_000;
  const marks = days ? DAY_MARKS : HOUR_MARKS;
  const whole = days ? 24 : 60;
  const zone = zoneName();
  return (
    <div className="timeline" role="table" aria-label={`Runs by ${days ? 'day' : 'hour'}, ${zone}`}>
      <div className="timeline-row timeline-head" role="row">
        <span
          role="columnheader"
          className="truncate"
          title={`Times are in the zone of your browser: ${zone}`}
        >
          {zone}
        </span>
        <span role="columnheader" className="timeline-track">
          {marks.map((mark) => (
            <span key={mark} style={{ left: `${(mark / whole) * 100}%` }}>
              {days ? `${String(mark).padStart(2, '0')}:00` : `:${String(mark).padStart(2, '0')}`}
            </span>
          ))}
        </span>
      </div>
      {rows.map((row) => {
        const begins = new Date(row.start).toISOString();
        return (
          <div key={row.start} className="timeline-row" role="row">
            <time role="rowheader" dateTime={begins} title={formatUtc(begins)}>
              {days ? formatLocal(begins).slice(0, 10) : formatLocal(begins).slice(5, 16)}
            </time>
            <div role="cell" className="timeline-track" style={{ height: 4 + row.lanes.length * 12 }}>
              {marks.map((mark) => (
                <i key={mark} style={{ left: `${markAt(row, mark, days) * 100}%` }} />
              ))}
              {row.lanes.flatMap((lane, index) =>
                lane.map((piece) => (
                  <span
                    key={`${piece.run.run_id} ${piece.waits ? 'waits' : 'runs'}`}
                    className={`timeline-bar ${piece.waits ? 'waits' : piece.run.state}`}
                    style={{
                      left: `${piece.left * 100}%`,
                      width: `${piece.width * 100}%`,
                      top: 3 + index * 12,
                    }}
                    title={`${describe(piece.run)}\nDue ${formatUtc(piece.run.due_time)}`}
                    role="img"
                    aria-label={describe(piece.run)}
                  />
                )),
              )}
            </div>
          </div>
        );
      })}
    </div>
  );
}

/** What the bars say on hover, for the keyboard and for screen readers. */
const COLUMNS: Column<SimulatedRun>[] = [
  {
    id: 'run',
    header: 'Run',
    width: 'minmax(160px, 2fr)',
    cell: (run) => (
      <span className="row">
        <StateIcon state={run.state as RunState} label />
        <span className="mono truncate" title={run.run_id}>
          {run.run_id}
        </span>
      </span>
    ),
  },
  {
    id: 'due',
    header: 'Due',
    width: 'minmax(150px, 1fr)',
    cell: (run) => <ExactTime value={run.due_time} />,
  },
  {
    id: 'in',
    header: 'In',
    width: '110px',
    extra: true,
    cell: (run) => (
      <span className="muted">
        <RelativeTime value={run.due_time} every={30} />
      </span>
    ),
  },
  {
    id: 'waits',
    header: 'Waits',
    width: '90px',
    align: 'right',
    cell: (run) =>
      waitSeconds(run) >= 1 ? formatDuration(waitSeconds(run)) : <span className="faint">—</span>,
  },
  {
    id: 'takes',
    header: 'Takes',
    width: '90px',
    align: 'right',
    cell: (run) => formatDuration(run.end_time ? elapsedSeconds(run.start_time, run.end_time, 0) : null),
  },
  {
    id: 'end',
    header: 'Ends',
    width: 'minmax(150px, 1fr)',
    extra: true,
    cell: (run) => <ExactTime value={run.end_time} />,
  },
];
const ROW_PIXELS = 32;
const MOST_ROWS_SHOWN = 12;

function RunList({ runs }: { runs: SimulatedRun[] }) {
  const height = (Math.min(runs.length, MOST_ROWS_SHOWN) + 1) * ROW_PIXELS + 8;
  return (
    <section className="simulate-runs" style={{ height }}>
      <DataTable
        label="Simulated runs"
        columns={COLUMNS}
        rows={runs}
        rowKey={(run) => `${run.dag_id}/${run.run_id}`}
        rowHeight={ROW_PIXELS}
      />
    </section>
  );
}

/** "scheduled__1 (partition eu): due 2026-03-01 07:00:00, waits 3h 00m, takes 12 s". */
function describe(run: SimulatedRun): string {
  const waited = waitSeconds(run);
  const took = run.end_time
    ? `takes ${formatDuration(elapsedSeconds(run.start_time, run.end_time, 0))}`
    : stateLabel(run.state).toLowerCase();
  const of = run.partition_key && ` (partition ${run.partition_key})`;
  const waits = waited >= 1 ? `, waits ${formatDuration(waited)}` : '';
  return `${run.run_id}${of}: due ${formatLocal(run.due_time)}${waits}, ${took}`;
}
