"""Runs that have ended: put away as encoded, decoded again when somebody asks, brought back by an event of theirs.

A run that has ended and has nothing unfinished leaves the live ones; its DAG keeps the latest few, so that they can be
cleared, marked and looked back at. Whoever holds a `Run` from `revive` only reads it: bringing back is `find_run`'s.
"""

from __future__ import annotations

from spinner_scheduler.domain import snapshots
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState

# How many finished runs stay decoded: those that a later run's depends_on_past or a clear may ask for at once.
_DECODED = 64


def find_run(state: PartitionState, dag_id: str, run_id: str) -> tuple[DagState, Run]:
    """Returns the run of an event and its DAG; a finished one is live again. Raises ValueError for an unknown run."""
    dag = state.dag(dag_id)
    run = dag.runs.get(run_id)
    if run is None:
        run = revive(state, dag, run_id)
        if run is None:
            raise ValueError(f"event of unknown run {dag_id}/{run_id}")
        dag.finished.pop(run_id)
        state.decoded.pop((dag_id, run_id), None)
        state.note_success(dag, run, finished=False)
        state.add_run(dag, run)
    return dag, run


def revive(state: PartitionState, dag: DagState, run_id: str) -> Run | None:
    """Returns a finished run, decoded, without bringing it back."""
    kept = dag.finished.get(run_id)
    if kept is None:
        return None
    key = (dag.dag_id, run_id)
    run = state.decoded.get(key)
    if run is None:
        run = snapshots.decode_run(kept, state.layouts)
        _keep_decoded(state, key, run)
    return run


def _keep_decoded(state: PartitionState, key: tuple[str, str], run: Run) -> None:
    state.decoded[key] = run
    if len(state.decoded) > _DECODED:
        state.decoded.popitem(last=False)


def put_away(state: PartitionState, dag: DagState, run: Run) -> None:
    """Takes a run that has ended out of the live ones; its DAG's oldest finished runs are forgotten when too many."""
    state.drop_run(dag, run)
    run.dirty.clear()
    run.parked.clear()
    dag.finished[run.run_id] = snapshots.encode_run(run)
    _keep_decoded(state, (dag.dag_id, run.run_id), run)
    state.note_success(dag, run, finished=True)
    while len(dag.finished) > state.limits.keep_finished_runs:
        dropped, _ = dag.finished.popitem(last=False)
        state.dropped.append((dag.dag_id, dropped))
        logical = next((entry[0] for entry in dag.by_date if entry[1] == dropped), 0)
        dag.by_date = [entry for entry in dag.by_date if entry[1] != dropped]
        dag.successes = [entry for entry in dag.successes if entry[0] != logical]
