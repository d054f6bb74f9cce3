"""The predicates that hold something back: the same ones decide and explain.

Each returns None when nothing of its kind holds, else a Blocker. Who decides only asks whether there is one; who
explains names it and looks up in the state who is behind it (`explain`). They read the state and change nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from spinner_proto.common.v1.common_pb2 import RunType

from spinner_scheduler.domain import times
from spinner_scheduler.domain.backfill import PAUSED, Backfill
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.finished_runs import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.reasons import Code
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import RUN_QUEUED, RUN_RUNNING, SKIPPED, SUCCESS


class Blocker(NamedTuple):
    """`until` (µs): when it ends by itself. `run_id` and `task_id`: what it is about, when that isn't clear."""

    code: Code
    until: int = 0
    run_id: str = ""
    task_id: str = ""


# Those without details are made once, because deciding meets them often.
DAG_PAUSED = Blocker(Code.DAG_PAUSED)
DAG_REMOVED = Blocker(Code.DAG_REMOVED)
DEFINITION_MISSING = Blocker(Code.DEFINITION_MISSING)
NO_NEXT_RUN = Blocker(Code.NO_SCHEDULE)
MAX_ACTIVE_RUNS = Blocker(Code.MAX_ACTIVE_RUNS)
BACKFILL_PAUSED = Blocker(Code.BACKFILL_PAUSED)
BACKFILL_MAX_ACTIVE_RUNS = Blocker(Code.BACKFILL_MAX_ACTIVE_RUNS)
RUN_NOT_STARTED = Blocker(Code.RUN_NOT_STARTED)
RUN_ENDED = Blocker(Code.CANCELLING)
LAYOUT_PENDING = Blocker(Code.LAYOUT_PENDING)
VERSION_PENDING = Blocker(Code.VERSION_PENDING)
MAX_ACTIVE_TASKS = Blocker(Code.MAX_ACTIVE_TASKS)
MAX_ACTIVE_TIS_PER_DAG = Blocker(Code.MAX_ACTIVE_TIS_PER_DAG)
MAX_ACTIVE_TIS_PER_RUN = Blocker(Code.MAX_ACTIVE_TIS_PER_RUN)
POOL_MISSING = Blocker(Code.POOL_MISSING)
POOL_HAS_NO_SLOTS = Blocker(Code.POOL_HAS_NO_SLOTS)
POOL_TOO_SMALL = Blocker(Code.POOL_TOO_SMALL)
POOL_FULL = Blocker(Code.POOL_FULL)

_GOOD = (SUCCESS, SKIPPED)


# -- runs --------------------------------------------------------------------------------------------------------


def scheduling(state: PartitionState, dag: DagState) -> Blocker | None:
    """What keeps all scheduled runs of a DAG from being made."""
    if dag.removed:
        return DAG_REMOVED
    if dag.paused:
        return DAG_PAUSED
    return DEFINITION_MISSING if state.layout_of(dag) is None else None


def next_run(state: PartitionState, dag: DagState, now: int) -> Blocker | None:
    """What keeps a DAG's next scheduled run from being made."""
    held = scheduling(state, dag)
    if held is not None:
        return held
    layout = state.layout_of(dag)
    return DEFINITION_MISSING if layout is None else next_tick(state, dag, layout, now)


def next_tick(state: PartitionState, dag: DagState, layout: Layout, now: int) -> Blocker | None:
    """What keeps a DAG's next scheduled run from being made, beside what keeps all of them."""
    due = times.from_timestamp(dag.updated.next_run_time)
    if not due:
        return NO_NEXT_RUN
    if due > now:
        return Blocker(Code.NOT_DUE, due)
    most = 1 if layout.definition.schedule.HasField("continuous") else state.max_active_runs(layout)
    return MAX_ACTIVE_RUNS if dag.active + dag.queued >= most else None


def run_start(state: PartitionState, dag: DagState, run: Run) -> Blocker | None:
    """What keeps a queued run from starting."""
    return DAG_PAUSED if dag.paused else room(state, dag, run)


def room(state: PartitionState, dag: DagState, run: Run) -> Blocker | None:
    """Whether as many runs of the DAG are active as may be."""
    if run.backfill_id:
        return _backfill(dag, run.backfill_id)
    return MAX_ACTIVE_RUNS if dag.active >= most_active(state, dag, run) else None


def most_active(state: PartitionState, dag: DagState, run: Run) -> int:
    """The DAG's bound now: the current version's for all, so that the queue's order holds when a new one differs."""
    return state.max_active_runs(state.layout_of(dag) or run.layout)


def _backfill(dag: DagState, backfill_id: str) -> Blocker | None:
    """What keeps a queued run of a backfill from starting; of one that is forgotten nothing does."""
    backfill = dag.backfills.get(backfill_id)
    if backfill is None:
        return None
    if backfill.state == PAUSED:
        return BACKFILL_PAUSED
    running = dag.backfill_runs[backfill_id][1]
    return BACKFILL_MAX_ACTIVE_RUNS if running >= backfill.created.request.max_active_runs else None


def next_of_backfill(dag: DagState, backfill: Backfill) -> Blocker | None:
    """What keeps a backfill from taking up its next interval."""
    if backfill.state == PAUSED:
        return BACKFILL_PAUSED
    runs = sum(dag.backfill_runs.get(backfill.backfill_id, ()))
    return BACKFILL_MAX_ACTIVE_RUNS if runs >= backfill.created.request.max_active_runs else None


def standstill(dag: DagState, run: Run) -> Blocker | None:
    """What keeps all task instances of a run from going on."""
    if run.state != RUN_RUNNING:
        return RUN_NOT_STARTED if run.state == RUN_QUEUED else RUN_ENDED
    if dag.paused:
        return DAG_PAUSED
    if run.rebind:
        return VERSION_PENDING
    return LAYOUT_PENDING if run.awaiting_layout else None


# -- task instances ----------------------------------------------------------------------------------------------


def beside_upstream(state: PartitionState, dag: DagState, run: Run, position: int, slot: int) -> Blocker | None:
    """What holds an instance back whose trigger rule is satisfied: earlier runs."""
    if not run.layout.has_past:
        return None
    task = run.layout.tasks[position]
    if task.depends_on_past or task.wait_for_downstream:
        return _past(state, dag, run, position, slot)
    return None


def outside_dates(run: Run, position: int) -> str:
    """Why a task has no part in a run, by its dates; "" when it has. As in Airflow, a backfill ignores them."""
    if not run.layout.has_dates or not run.facts.HasField("logical_date"):
        return ""
    if run.facts.run_type == RunType.RUN_TYPE_BACKFILL:
        return ""
    task = run.layout.tasks[position]
    if task.HasField("start_date") and run.logical < times.from_timestamp(task.start_date):
        return "its start_date is after the run's logical date"
    if task.HasField("end_date") and run.logical > times.from_timestamp(task.end_date):
        return "its end_date is before the run's logical date"
    return ""


def _previous(state: PartitionState, dag: DagState, run: Run) -> Run | None:
    """The run before: with catch-up, of those that were not made by hand."""
    for logical, run_id in reversed(dag.by_date):
        if logical < run.logical:
            found = dag.runs.get(run_id) or revive(state, dag, run_id)
            if found is None or not run.layout.definition.catchup:
                return found
            if found.facts.run_type != RunType.RUN_TYPE_MANUAL:
                return found
    return None


def _past(state: PartitionState, dag: DagState, run: Run, position: int, slot: int) -> Blocker | None:
    previous = _previous(state, dag, run)
    if previous is None:
        return None
    previous_id = previous.run_id
    task = run.layout.tasks[position]
    task_id = task.task_id
    if (
        run.layout.definition.catchup
        and task.HasField("start_date")
        and previous.logical < times.from_timestamp(task.start_date)
    ):
        return None
    target = previous.layout.index.get(task_id)
    if target is None:
        return None if task.ignore_first_depends_on_past else Blocker(Code.DEPENDS_ON_PAST, 0, previous_id, task_id)
    slots = previous.slots_of(target)
    index = run.map_index(slot)
    if 0 <= index < len(slots) and target in previous.instances:
        slots = [slots[index]]
    if any(previous.states[s] not in _GOOD for s in slots):
        return Blocker(Code.DEPENDS_ON_PAST, 0, previous_id, task_id)
    if task.wait_for_downstream:
        for below in previous.layout.down[target]:
            if any(previous.states[s] not in _GOOD for s in previous.slots_of(below)):
                return Blocker(Code.WAIT_FOR_DOWNSTREAM, 0, previous_id, previous.layout.task_ids[below])
    return None


def limit(state: PartitionState, dag: DagState, run: Run, position: int) -> Blocker | None:
    """The limit of its run or task that an instance would exceed."""
    if run.holding >= state.max_active_tasks(run.layout):
        return MAX_ACTIVE_TASKS
    limits = run.layout.limits.get(position)
    if limits is None:
        return None
    per_dag, per_run = limits
    if per_run and run.task_holding.get(position, 0) >= per_run:
        return MAX_ACTIVE_TIS_PER_RUN
    if per_dag and dag.held_by_task.get(run.layout.task_ids[position], 0) >= per_dag:
        return MAX_ACTIVE_TIS_PER_DAG
    return None


def pool(wanted: Pool, slots: int) -> Blocker | None:
    """What keeps a pool of this partition from giving `slots` slots now."""
    if slots <= wanted.free():
        return None
    if wanted.slots < 0:
        return POOL_MISSING
    if wanted.slots == 0:
        return POOL_HAS_NO_SLOTS
    return POOL_TOO_SMALL if slots > wanted.slots else POOL_FULL
