/** A year of the DAG, a cell a day in the time zone of its schedule: did it run, how did it end, what is planned? */
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { ChevronLeft, ChevronRight } from 'lucide-react';
import { useMemo } from 'react';
import { IconButton, Loading, Problem } from '../../components/ui';
import { byDate, countOf, daysToPlan, today, type Counts } from '../../lib/calendar';
import { usePatchSearch, useSearch } from '../../lib/search';
import { stateLabel } from '../../lib/states';
import { dagQuery } from '../../queries/dags';
import { simulationQuery } from '../../queries/simulation';
import { calendarQuery } from '../../queries/timings';
import { DayCell, YearGrid } from './YearGrid';
import './timings.css';

const FOLLOW_MS = 10_000;

export function CalendarView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const navigate = useNavigate();
  const year = search.year ?? new Date().getFullYear();
  const calendar = useQuery({ ...calendarQuery(dagId, year), refetchInterval: FOLLOW_MS });
  const dag = useQuery(dagQuery(dagId));
  const now = calendar.data ? today(calendar.data.timezone) : '';
  const current = year === Number(now.slice(0, 4));
  const plans = current && dag.data?.paused === false && !!dag.data.next_run_time;
  const nextDay = useQuery({ ...simulationQuery(dagId, { days: 1, maxActiveRuns: 1 }), enabled: plans });
  const planned = useQuery({
    ...simulationQuery(dagId, { days: daysToPlan(nextDay.data?.run_count ?? 0), maxActiveRuns: 1 }),
    enabled: plans && nextDay.isSuccess,
  });
  const plannedByDay = useMemo(
    () =>
      calendar.data && current
        ? byDate(
            (planned.data?.runs ?? []).map((run) => run.due_time),
            calendar.data.timezone,
          )
        : new Map<string, number>(),
    [planned.data, calendar.data, current],
  );
  const days = useMemo(
    () => new Map((calendar.data?.days ?? []).map((day) => [day.date, day])),
    [calendar.data],
  );
  if (calendar.isPending) return <Loading rows={8} label="Loading the calendar" />;
  if (calendar.isError && !calendar.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={calendar.error} retry={() => void calendar.refetch()} />
      </div>
    );
  const found = calendar.data;
  const firstYear = Number((found.first_run_date ?? now).slice(0, 4));
  const lastYear = Math.max(Number(now.slice(0, 4)), Number((found.last_run_date ?? now).slice(0, 4)));
  return (
    <div className="col grow">
      <div className="toolbar">
        <IconButton
          label="The year before"
          disabled={year <= firstYear}
          onClick={() => patch({ year: year - 1 })}
        >
          <ChevronLeft size={15} />
        </IconButton>
        <strong>{year}</strong>
        <IconButton
          label="The year after"
          disabled={year >= lastYear}
          onClick={() => patch({ year: year + 1 })}
        >
          <ChevronRight size={15} />
        </IconButton>
        <span className="muted" role="status">
          {summary([...days.values()].map((day) => day.counts))}
        </span>
        <span className="right muted">Days in {found.timezone}, by when runs were due</span>
      </div>
      <div className="year" aria-busy={calendar.isPlaceholderData}>
        <YearGrid
          year={year}
          today={now}
          days={days}
          planned={plannedByDay}
          onOpen={(date) => {
            const day = days.get(date);
            if (day)
              void navigate({
                to: '/dags/$dagId/runs',
                params: { dagId },
                search: { due_from: day.start_time, due_to: day.end_time },
              });
            else if (plannedByDay.has(date))
              void navigate({ to: '/dags/$dagId/simulate', params: { dagId } });
          }}
        />
        <Legend />
        {plans && (nextDay.error ?? planned.error) && (
          <p className="muted">Planned runs are not shown: {(nextDay.error ?? planned.error)?.message}</p>
        )}
      </div>
    </div>
  );
}

function summary(days: Counts[]): string {
  const total = days.reduce((sum, counts) => sum + countOf(counts), 0);
  if (total === 0) return 'No run';
  const parts = (['failed', 'running', 'queued', 'success'] as const).flatMap((state) => {
    const count = days.reduce((sum, counts) => sum + (counts[state] ?? 0), 0);
    return count > 0 ? [`${count.toLocaleString()} ${stateLabel(state).toLowerCase()}`] : [];
  });
  return `${total.toLocaleString()} ${total === 1 ? 'run' : 'runs'}: ${parts.join(', ')}`;
}

const LEGEND: [string, Counts, number][] = [
  ['all successful', { success: 1 }, 0],
  ['some failed', { success: 3, failed: 1 }, 0],
  ['most failed', { failed: 1 }, 0],
  ['running', { running: 1 }, 0],
  ['queued', { queued: 1 }, 0],
  ['planned', {}, 1],
];

function Legend() {
  return (
    <div className="legend" aria-hidden="true">
      {LEGEND.map(([name, counts, planned]) => (
        <span key={name} className="state-label">
          <svg width={16} height={16}>
            <DayCell x={1} y={1} size={14} counts={counts} planned={planned} />
          </svg>
          {name}
        </span>
      ))}
    </div>
  );
}
