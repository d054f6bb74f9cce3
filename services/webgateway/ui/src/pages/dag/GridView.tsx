/** Runs × tasks, virtual in both directions, with the details of what is selected beside it. */
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { Play } from 'lucide-react';
import { useMemo, useState } from 'react';
import { StateIcon } from '../../components/StateIcon';
import { Empty, FilterField, Loading, Problem } from '../../components/ui';
import { usePatchSearch, useSearch } from '../../lib/search';
import { stateLabel, TASK_STATES } from '../../lib/states';
import { taskTree } from '../../lib/taskTree';
import { gridQuery } from '../../queries/dags';
import { RunPane } from '../run/RunPane';
import { TaskPane } from '../task/TaskPane';
import { GridTable } from './GridTable';

/** The gateway gives at most 100. */
const COUNTS = [25, 50, 100];

export function GridView() {
  const { dagId } = useParams({ from: '/dags/$dagId' });
  const search = useSearch();
  const patch = usePatchSearch();
  const count = Math.min(search.runs ?? 25, 100);
  const grid = useQuery(gridQuery(dagId, count));
  const [folds, setFolds] = useState<ReadonlySet<string> | null>(null);
  const layout = grid.data?.layout;
  const folded = useMemo(
    () =>
      folds ??
      new Set(layout && layout.tasks.length > 300 ? layout.groups.map((group) => group.group_id) : []),
    [folds, layout],
  );
  const tree = useMemo(() => {
    if (!layout) return [];
    const q = search.q?.toLowerCase();
    if (!q) return taskTree(layout, folded);
    return taskTree(layout, new Set()).filter(
      (row) => row.kind === 'task' && row.id.toLowerCase().includes(q),
    );
  }, [layout, folded, search.q]);

  if (grid.isPending) return <Loading rows={14} label="Loading the grid" />;
  if (grid.isError && !grid.data)
    return (
      <div style={{ padding: 16 }}>
        <Problem error={grid.error} retry={() => void grid.refetch()} />
      </div>
    );
  const { runs, rows, layout: shape } = grid.data;
  const allFolded = shape.groups.length > 0 && shape.groups.every((group) => folded.has(group.group_id));
  const present = new Set(rows.flatMap((row) => row.states));
  return (
    <div className="split">
      <div className="col">
        <div className="toolbar">
          <FilterField
            label="Filter tasks"
            width={220}
            value={search.q ?? ''}
            onChange={(value) => patch({ q: value || undefined })}
          />
          {shape.groups.length > 0 && (
            <button
              type="button"
              className="btn small"
              onClick={() =>
                setFolds(allFolded ? new Set() : new Set(shape.groups.map((group) => group.group_id)))
              }
            >
              {allFolded ? 'Open groups' : 'Fold groups'}
            </button>
          )}
          <div className="legend grow" aria-hidden="true">
            {TASK_STATES.filter((state) => present.has(state) && state !== 'none').map((state) => (
              <span key={state} className="state-label">
                <StateIcon state={state} size={12} />
                {stateLabel(state)}
              </span>
            ))}
          </div>
          <select
            className="field"
            aria-label="Number of runs"
            value={count}
            onChange={(event) => patch({ runs: Number(event.target.value) })}
          >
            {[...new Set([...COUNTS, count])].map((value) => (
              <option key={value} value={value}>
                {value} runs
              </option>
            ))}
          </select>
        </div>
        {runs.length === 0 ? (
          <Empty title="This DAG has not run yet" icon={<Play size={28} strokeWidth={1.5} />}>
            <p>Trigger a run with the button above (or the key r), or wait for its next scheduled run.</p>
          </Empty>
        ) : (
          <GridTable
            key={dagId}
            runs={runs}
            rows={rows}
            tree={tree}
            selected={{ run: search.run, task: search.task }}
            onFold={(id) => {
              const next = new Set(folded);
              if (!next.delete(id)) next.add(id);
              setFolds(next);
            }}
            onRun={(run) => patch({ run, task: undefined, map: undefined, try: undefined, line: undefined })}
            onCell={(run, task) => patch({ run, task, map: undefined, try: undefined, line: undefined })}
          />
        )}
      </div>
      {search.run && search.task && (
        <TaskPane
          key={`${search.run}/${search.task}`}
          dagId={dagId}
          runId={search.run}
          taskId={search.task}
        />
      )}
      {search.run && !search.task && <RunPane key={search.run} dagId={dagId} runId={search.run} />}
    </div>
  );
}
