"""The life of runs: made when due, started when their DAG has room, ended when their tasks have."""

from __future__ import annotations

from bisect import bisect_left

from spinner_proto.common.v1.common_pb2 import Actor, Blob, Outcome, RunType
from spinner_proto.events.v1.events_pb2 import DagUpdated, RunCreated, TaskEnded, TaskStateChanged, WorkflowEvent
from spinner_proto.orders.v1.orders_pb2 import DesiredState

from spinner_scheduler.domain import (
    asset_uses,
    blockers,
    callbacks,
    deadlines,
    partitions,
    schedules,
    times,
    timetable_requests,
)
from spinner_scheduler.domain.asking import release
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.orders import callback_order, execution_record, layout_order, task_order, try_key
from spinner_scheduler.domain.reasons import Code
from spinner_scheduler.domain.run import LAYOUT_TASK, Run
from spinner_scheduler.domain.states import (
    DEFERRED,
    FAILED,
    FINISHED,
    HOLDING,
    NONE,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_SUCCESS,
    SKIPPED,
    UP_FOR_RESCHEDULE,
    UPSTREAM_FAILED,
)
from spinner_scheduler.domain.tasks import answer, asks_past

LAYOUT_TRIES = 3


# -- making runs -----------------------------------------------------------------------------------------------


def create_due(d: Decision, dag: DagState) -> None:
    """Makes the DAG's next scheduled run, if it is due and there is room, and plans the one after it."""
    layout = d.state.layout_of(dag)
    while layout is not None and blockers.next_run(d.state, dag, d.now) is None:
        # Planned again: without catch-up, a run that had to wait for room is the latest one by now.
        tick, _ = dag.timetable(layout.definition).next(last_tick(dag.updated), d.now)
        if tick is None or tick.run_after > d.now:
            update_dag(d, dag, replan=True)
            return
        if not _has_run(dag, tick.logical):
            run_id = f"scheduled__{times.text(tick.logical)}"
            create(d, dag, layout, run_id, tick, int(RunType.RUN_TYPE_SCHEDULED))
        update_dag(d, dag, last=tick)


def _has_run(dag: DagState, logical: int) -> bool:
    at = bisect_left(dag.by_date, (logical, ""))
    if at < len(dag.by_date) and dag.by_date[at][0] == logical:
        return True
    at = bisect_left(dag.taken, logical)
    return at < len(dag.taken) and dag.taken[at] == logical


def create(
    d: Decision,
    dag: DagState,
    layout: Layout,
    run_id: str,
    tick: schedules.Tick,
    run_type: int,
    extra: RunCreated | None = None,
) -> None:
    """Makes a run in state QUEUED."""

    def fill(event: WorkflowEvent) -> None:
        created = event.run_created
        if extra is not None:
            created.CopyFrom(extra)
        created.run_type = run_type  # type: ignore[assignment]
        created.logical_date.CopyFrom(times.to_timestamp(tick.logical))
        if tick.end:
            created.data_interval_start.CopyFrom(times.to_timestamp(tick.start))
            created.data_interval_end.CopyFrom(times.to_timestamp(tick.end))
        created.run_after.CopyFrom(times.to_timestamp(tick.run_after))
        created.version = layout.version
        created.awaiting_layout = layout.definition.dynamic
        created.task_count = layout.n
        if not created.partition_key and run_type in (RunType.RUN_TYPE_SCHEDULED, RunType.RUN_TYPE_BACKFILL):
            created.partition_key = partitions.of_tick(layout.definition, tick.logical)

    d.emit(dag.dag_id, run_id, fill)
    set_run_state(d, dag, dag.runs[run_id], RUN_QUEUED)
    d.dag_changed(dag)


def update_dag(
    d: Decision,
    dag: DagState,
    *,
    version: str = "",
    paused: bool | None = None,
    paused_by: Actor | None = None,
    paused_reason: str = "",
    last: schedules.Tick | None = None,
    failed_runs: int | None = None,
    replan: bool = False,
) -> None:
    """Records the DAG's facts as a whole, with the next run planned anew where it may have changed."""
    if dag.removed and not version:
        # Only a new version brings it back.
        return
    uses = asset_uses.wanted_by(d.state, dag) if version or paused is not None else None
    updated = DagUpdated()
    updated.CopyFrom(dag.updated)
    if version:
        updated.version = version
        updated.version_time.CopyFrom(d.time)
    if paused is not None:
        updated.paused = paused
        for name in ("paused_time", "paused_by", "paused_reason"):
            updated.ClearField(name)
        if paused:
            updated.paused_time.CopyFrom(d.time)
            updated.paused_reason = paused_reason
            if paused_by is not None:
                updated.paused_by.CopyFrom(paused_by)
    if failed_runs is not None:
        updated.consecutive_failed_runs = failed_runs
    if last is not None:
        updated.last_scheduled_logical_date.CopyFrom(times.to_timestamp(last.logical))
        updated.last_scheduled_interval_end.CopyFrom(times.to_timestamp(last.end or last.logical))
    updated.active_runs = dag.active + dag.queued
    layout = d.state.layouts.get(dag.dag_id, updated.version)
    asks = False
    if layout is not None:
        updated.placement.CopyFrom(layout.definition.placement)
        if last is not None or replan or version:
            _plan(d, dag, layout, updated)
            asks = timetable_requests.follow(dag, layout.definition, updated, d.now, bool(version)) or asks
    d.emit(dag.dag_id, "", lambda event: event.dag_updated.CopyFrom(updated))
    if uses is not None:
        asset_uses.tell(d, dag, uses)
    if asks and layout is not None:
        d.result.timetables[dag.dag_id] = timetable_requests.record(dag, layout.definition)


def last_tick(updated: DagUpdated) -> schedules.Tick | None:
    """Returns what timetables need of the latest scheduled run, None before the first."""
    end = times.from_timestamp(updated.last_scheduled_interval_end)
    return schedules.Tick(times.from_timestamp(updated.last_scheduled_logical_date), 0, end, 0) if end else None


def _plan(d: Decision, dag: DagState, layout: Layout, updated: DagUpdated) -> None:
    for name in ("next_run_time", "next_logical_date", "next_interval_start", "next_interval_end"):
        updated.ClearField(name)
    updated.no_next_run_reason = ""
    tick, reason = dag.timetable(layout.definition).next(last_tick(updated), d.now)
    if tick is None:
        updated.no_next_run_reason = reason.text
        return
    updated.next_run_time.CopyFrom(times.to_timestamp(tick.run_after))
    updated.next_logical_date.CopyFrom(times.to_timestamp(tick.logical))
    if tick.end:
        updated.next_interval_start.CopyFrom(times.to_timestamp(tick.start))
        updated.next_interval_end.CopyFrom(times.to_timestamp(tick.end))


# -- starting and ending ---------------------------------------------------------------------------------------


def promote(d: Decision, dag: DagState) -> None:
    """Starts queued runs, oldest first, while the DAG has room; those of a backfill while that has room."""
    if not (dag.queued or dag.backfill_runs) or dag.paused:
        return
    waiting = sorted(
        (run for run in dag.runs.values() if run.state == RUN_QUEUED),
        key=lambda run: (run.priority_date, run.logical, run.run_id),
    )
    for run in waiting:
        if blockers.run_start(d.state, dag, run) is not None:
            if not dag.backfill_runs:
                return
            continue
        set_run_state(d, dag, run, RUN_RUNNING, start=d.now)
        if run.awaiting_layout:
            order_layout(d, dag, run)


def order_layout(d: Decision, dag: DagState, run: Run) -> None:
    """Orders the computation of a dynamic run's layout."""
    number = abs(run.layout_try) + 1

    def fill(event: WorkflowEvent) -> None:
        event.task_state_changed.task_id = LAYOUT_TASK
        event.task_state_changed.map_index = -1
        event.task_state_changed.state = 3  # type: ignore[assignment]
        event.task_state_changed.try_number = number

    d.emit(dag.dag_id, run.run_id, fill)
    d.order(layout_order(d.state, dag, run, number))


def set_run_state(
    d: Decision,
    dag: DagState,
    run: Run,
    new: int,
    *,
    reason: str = "",
    marked: bool = False,
    start: int = 0,
) -> None:
    def fill(event: WorkflowEvent) -> None:
        changed = event.run_state_changed
        changed.state = new  # type: ignore[assignment]
        changed.marked = marked
        changed.reason = reason
        if new != RUN_QUEUED and (start or run.start):
            changed.start_time.CopyFrom(times.to_timestamp(start or run.start))
        if new in (RUN_SUCCESS, RUN_FAILED):
            changed.end_time.CopyFrom(d.time)

    d.emit(dag.dag_id, run.run_id, fill)
    d.result.transitions += 1
    d.dag_changed(dag)


def end_run(d: Decision, dag: DagState, run: Run, new: int, reason: str, marked: bool = False) -> None:
    """Ends a run: records it, orders its callbacks, counts failures in a row."""
    if run.layout.definition.deadlines:
        deadlines.run_ended(d, dag, run, new == RUN_SUCCESS)
    set_run_state(d, dag, run, new, reason=reason, marked=marked)
    definition = run.layout.definition
    success = new == RUN_SUCCESS
    called = definition.has_success_callback if success else definition.has_failure_callback
    if called and not run.facts.backfill.skip_callbacks:
        callbacks.order(d, callback_order(d.state, dag, run, "success" if success else "failure", reason))
    if run.backfill_id:
        # What fails in the past says nothing of the schedule.
        return
    failed = 0 if success else dag.updated.consecutive_failed_runs + 1
    limit = definition.max_consecutive_failed_runs
    if failed != dag.updated.consecutive_failed_runs:
        why = f"{failed} of its runs failed in a row, max_consecutive_failed_runs is {limit}"
        too_many = True if limit and failed >= limit and not dag.paused else None
        update_dag(d, dag, failed_runs=failed, paused=too_many, paused_reason=why)


def _any_in(run: Run, position: int, states: tuple[int, ...]) -> bool:
    return any(run.states[slot] in states for slot in run.slots_of(position))


def conclude(d: Decision, dag: DagState, run: Run) -> None:
    """Ends a run whose tasks have all ended, or can't go on."""
    if run.state != RUN_RUNNING or run.awaiting_layout or run.rebind or run.wanted or run.dirty:
        return
    layout = run.layout
    if run.unfinished:
        if run.moving or dag.paused or _waits(d, dag, run):
            return
        stuck = [layout.task_ids[run.position(slot)] for slot in run.live_slots() if run.states[slot] == NONE][:5]
        stop_tasks(d, dag, run, "the run can't go on")
        end_run(d, dag, run, RUN_FAILED, f"deadlock: {', '.join(stuck)} can never become ready")
        return
    bad = [leaf for leaf in run.leaves if _any_in(run, leaf, (FAILED, UPSTREAM_FAILED))]
    if bad:
        # Leaves decide, but what people look for is the tasks that failed themselves.
        causes = [at for at in range(len(layout.task_ids)) if _any_in(run, at, (FAILED,))] or bad
        more = f" and {len(causes) - 5} more" if len(causes) > 5 else ""
        end_run(d, dag, run, RUN_FAILED, f"failed: {', '.join(layout.task_ids[at] for at in causes[:5])}{more}")
    else:
        end_run(d, dag, run, RUN_SUCCESS, "")


def _waits(d: Decision, dag: DagState, run: Run) -> bool:
    """Whether a task of a run without any movement waits for another run."""
    if not run.layout.has_past:
        return False
    for slot in run.live_slots():
        if run.states[slot] == NONE and asks_past(run, run.position(slot), answer(run, slot)):
            held = blockers.beside_upstream(d.state, dag, run, run.position(slot), slot)
            if held is not None and held.code in (Code.DEPENDS_ON_PAST, Code.WAIT_FOR_DOWNSTREAM):
                return True
    return False


def stop_tasks(d: Decision, dag: DagState, run: Run, reason: str, keep_teardowns: bool = False) -> None:
    """Has all running tasks killed and skips those that have not begun."""
    for slot in run.live_slots():
        state = run.states[slot]
        if FINISHED[state]:
            continue
        if keep_teardowns and run.layout.tasks[run.position(slot)].is_teardown:
            continue
        if HOLDING[state] or state == DEFERRED:
            cancel(d, dag, run, slot, int(Outcome.OUTCOME_KILLED_BY_USER), reason)
        elif state == UP_FOR_RESCHEDULE or slot in run.resumes:
            end_try(d, dag, run, slot, SKIPPED, reason)
        else:
            withdraw(d, run, slot)
            d.task_state(run, slot, SKIPPED, reason=reason)
    if run.awaiting_layout and run.layout_try > 0:
        key = layout_order(d.state, dag, run, run.layout_try).try_key
        d.tombstone(key)


def cancel(
    d: Decision,
    dag: DagState,
    run: Run,
    slot: int,
    outcome: int,
    reason: str,
    new: int = 0,
    conf: Blob | None = None,
) -> None:
    """Asks the executor to kill a try; it stays until the executor reports its end.

    With the new state RESTARTING, `conf` is what the next try sees instead of the run's.
    """
    if slot in run.cancelled and not new:
        return
    order = task_order(
        d.state, dag, run, slot, run.tries[slot], run.segments[slot], int(DesiredState.DESIRED_STATE_CANCELLED)
    )
    d.order(order)

    def fill(changed: TaskStateChanged) -> None:
        changed.cancelled_as = outcome  # type: ignore[assignment]
        if conf is not None:
            changed.conf.CopyFrom(conf)

    d.task_state(
        run,
        slot,
        new or run.states[slot],
        try_number=run.tries[slot],
        segment=run.segments[slot],
        reason=reason,
        fill=fill,
    )


def withdraw(d: Decision, run: Run, slot: int) -> None:
    """Gives back what an instance asked of or holds in a pool of another partition."""
    request = run.requests.get(slot)
    if request is None:
        return
    release(d, run, slot, request)


def end_try(
    d: Decision,
    dag: DagState,
    run: Run,
    slot: int,
    new: int,
    reason: str,
    *,
    marked_outcome: int = int(Outcome.OUTCOME_KILLED_BY_USER),
) -> None:
    """Ends a try at once, without waiting for its executor: the tombstone has the worker removed."""
    ended = TaskEnded(
        task_id=run.layout.task_ids[run.position(slot)],
        map_index=run.map_index(slot),
        try_number=run.tries[slot],
        state=new,  # type: ignore[arg-type]
        outcome=marked_outcome,  # type: ignore[arg-type]
        message=reason,
        end_time=d.time,
        return_length=-1,
    )
    first = run.first_start.get(slot)
    if first:
        ended.start_time.CopyFrom(times.to_timestamp(first))
    d.result.executions.append(execution_record(run, slot, ended))
    d.tombstone(try_key(run, slot, run.tries[slot]))
    withdraw(d, run, slot)
    d.task_ended(run, ended)
