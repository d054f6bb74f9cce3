"""Deadlines: by when a run, or one of its tasks, is to have ended (B7).

A run's deadlines are set when it is made, and are its own from then on. The core's timers watch them, also while the
DAG is paused or the run waits for room; a miss is an event, and an order to call back if the author wants it. Of the
latest runs that succeeded a DAG with deadlines keeps how long they took; as soon as the median says that a run can't
be in time any more, its deadline is at risk. A run that fails drops its deadlines; cleared, it has them again.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.definitions.v1.definitions_pb2 import Deadline, DeadlineReference
from spinner_proto.events.v1.events_pb2 import DeadlineState, WorkflowEvent

from spinner_scheduler.domain import callbacks, times
from spinner_scheduler.domain.dag_state import FEWEST_FOR_MEDIAN, DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import deadline_order
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import DEADLINE_OPEN
from spinner_scheduler.domain.states import RUN_QUEUED, RUN_RUNNING, SKIPPED, SUCCESS

PENDING = int(DeadlineState.DEADLINE_STATE_PENDING)
AT_RISK = int(DeadlineState.DEADLINE_STATE_AT_RISK)
MET = int(DeadlineState.DEADLINE_STATE_MET)
MISSED = int(DeadlineState.DEADLINE_STATE_MISSED)
DROPPED = int(DeadlineState.DEADLINE_STATE_DROPPED)

_AVERAGE_OF = 10


def follow(d: Decision, dag: DagState, run: Run) -> None:
    """Sets what a live run has no deadline for yet, and notes what was met or is at risk since the last look."""
    if run.state not in (RUN_QUEUED, RUN_RUNNING) or run.facts.run_type == RunType.RUN_TYPE_BACKFILL:
        return
    for index, deadline in enumerate(run.layout.definition.deadlines):
        state = run.deadline_states.get(index, 0)
        if not state:
            due = _due(dag, run, deadline, d.now)
            if not due:
                continue
            _change(d, run, index, PENDING, due)
        elif state == DROPPED:
            _change(d, run, index, PENDING, run.deadlines[index])
        elif state not in DEADLINE_OPEN:
            continue
        if deadline.task_id and _task_ended(run, deadline.task_id):
            _change(d, run, index, MET, run.deadlines[index])
        elif run.deadline_states[index] == PENDING:
            _predict(d, dag, run, index, deadline)


def run_ended(d: Decision, dag: DagState, run: Run, success: bool) -> None:
    """Notes what a run has met that is about to end, and how long it took. Call it before its state changes."""
    deadlines = run.layout.definition.deadlines
    for index, state in list(run.deadline_states.items()):
        if state in DEADLINE_OPEN:
            task_id = deadlines[index].task_id
            met = _task_ended(run, task_id) if task_id else success
            _change(d, run, index, MET if met else DROPPED, run.deadlines[index])
    if not success or not run.start or not deadlines:
        return

    def fill(event: WorkflowEvent) -> None:
        measured = event.run_measured
        measured.run_id = run.run_id
        measured.duration.CopyFrom(times.to_duration(d.now - run.start))
        for task_id in {deadline.task_id for deadline in deadlines if deadline.task_id}:
            slots = _slots(run, task_id)
            if slots and _task_ended(run, task_id):
                took = max(run.since[slot] for slot in slots) * times.SECOND - run.start
                measured.task_durations[task_id].CopyFrom(times.to_duration(max(took, 0)))

    d.emit(dag.dag_id, "", fill)


def ring(d: Decision, dag: DagState, run: Run, index: int) -> None:
    """A deadline has come and the run, or task, has not ended."""
    deadline = run.layout.definition.deadlines[index]
    due = run.deadlines[index]
    _change(d, run, index, MISSED, due)
    if deadline.has_callback and not run.facts.backfill.skip_callbacks:
        callbacks.order(d, deadline_order(d.state, dag, run, index, due, predicted=False))


def durations(dag: DagState, task_id: str) -> list[int]:
    """How long the latest runs took in µs, or from their start to the end of a task; oldest first."""
    if not task_id:
        return [times.from_duration(measured.duration) for measured in dag.measured]
    return [
        times.from_duration(measured.task_durations[task_id])
        for measured in dag.measured
        if task_id in measured.task_durations
    ]


def _due(dag: DagState, run: Run, deadline: Deadline, now: int) -> int:
    """When a deadline is, 0 for never."""
    reference = deadline.reference
    interval = times.from_duration(deadline.interval)
    if reference == DeadlineReference.DEADLINE_REFERENCE_LOGICAL_DATE:
        return run.logical + interval
    if reference == DeadlineReference.DEADLINE_REFERENCE_QUEUED_TIME:
        return now + interval
    if reference == DeadlineReference.DEADLINE_REFERENCE_FIXED_TIME:
        return times.from_timestamp(deadline.fixed_time) + interval
    if reference == DeadlineReference.DEADLINE_REFERENCE_AVERAGE_RUNTIME:
        most = deadline.max_runs or _AVERAGE_OF
        known = durations(dag, deadline.task_id)[-most:]
        return now + int(fmean(known)) + interval if len(known) >= (deadline.min_runs or most) else 0
    return 0


def _predict(d: Decision, dag: DagState, run: Run, index: int, deadline: Deadline) -> None:
    known = durations(dag, deadline.task_id)
    if len(known) < FEWEST_FOR_MEDIAN:
        return
    took = int(median(known))
    expected = (run.start if run.state == RUN_RUNNING else d.now) + took
    due = run.deadlines[index]
    if expected <= due or d.now >= due:
        return

    def fill(event: WorkflowEvent) -> None:
        changed = event.deadline_changed
        changed.expected_end_time.CopyFrom(times.to_timestamp(expected))
        changed.median_duration.CopyFrom(times.to_duration(took))
        changed.run_count = len(known)

    _change(d, run, index, AT_RISK, due, fill)
    wanted = deadline.has_callback and deadline.callback_on_prediction
    if wanted and not run.facts.backfill.skip_callbacks:
        callbacks.order(d, deadline_order(d.state, dag, run, index, due, predicted=True))


def _change(
    d: Decision, run: Run, index: int, new: int, due: int, more: Callable[[WorkflowEvent], None] | None = None
) -> None:
    deadline = run.layout.definition.deadlines[index]

    def fill(event: WorkflowEvent) -> None:
        changed = event.deadline_changed
        changed.index = index
        changed.name = deadline.name
        changed.task_id = deadline.task_id
        changed.state = new  # type: ignore[assignment]
        changed.deadline_time.CopyFrom(times.to_timestamp(due))
        if more is not None:
            more(event)

    d.emit(run.dag_id, run.run_id, fill)


def _slots(run: Run, task_id: str) -> list[int]:
    position = run.layout.index.get(task_id, -1)
    return run.slots_of(position) if position >= 0 else []


def _task_ended(run: Run, task_id: str) -> bool:
    slots = _slots(run, task_id)
    return bool(slots) and all(run.states[slot] in (SUCCESS, SKIPPED) for slot in slots)
