"""Backfills: which intervals they have, what becomes of each, and when the next ones are taken up.

`judge` is the one place that says what happens to an interval, for the dry run and for the real thing. Invariants:
each interval is taken up once and has then exactly one run in the backfill, or a reason why not; an interval that
has a run gets no second one, neither here nor later from the schedule (`DagState.taken`); never more runs of a
backfill at once than its max_active_runs, which the DAG's own max_active_runs does not know of.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, ExplicitSchedule
from spinner_proto.events.v1.events_pb2 import (
    BackfillAction,
    BackfillAdvanced,
    BackfillInterval,
    BackfillPlan,
    BackfillRun,
    RunCreated,
    WorkflowEvent,
)
from spinner_proto.inbox.v1.inbox_pb2 import Command, CreateBackfill, ReprocessBehavior, RunOrder, TimetableEvaluated

from spinner_scheduler.domain import blockers, clearing, mapping, schedules, snapshots, times
from spinner_scheduler.domain.backfill import CANCELLED, CREATED, DONE, PAUSED, RUNNING, STATE_NAMES, Backfill
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.layout import BACKFILL_POOL, Layout
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.runs import create, end_run, stop_tasks
from spinner_scheduler.domain.states import OPEN, RUN_FAILED, RUN_QUEUED, RUN_RUNNING, RUN_STATE_NAMES, RUN_SUCCESS

DEFAULT_MAX_ACTIVE_RUNS = 10
LISTED_INTERVALS = 1_000
_NO_SCHEDULE = (None, "none", "continuous")
_AGAIN = {
    ReprocessBehavior.REPROCESS_BEHAVIOR_FAILED: (RUN_FAILED,),
    ReprocessBehavior.REPROCESS_BEHAVIOR_COMPLETED: (RUN_FAILED, RUN_SUCCESS),
}


# -- intervals ---------------------------------------------------------------------------------------------------


def intervals(
    definition: DagDefinition, first: int, last: int, now: int, evaluated: TimetableEvaluated | None = None
) -> Iterator[schedules.Tick]:
    """Yields the intervals whose logical date is from `first` to `last` and that are over at `now`, oldest first.

    `evaluated` has those of a custom timetable. As in Airflow a backfill may reach back before the DAG's start_date;
    its end_date holds.
    """
    bounded = DagDefinition(schedule=definition.schedule, catchup=True)
    start, end = times.from_timestamp(definition.start_date), times.from_timestamp(definition.end_date)
    kind = definition.schedule.WhichOneof("kind")
    if kind == "once":
        bounded.start_date.CopyFrom(times.to_timestamp(start or first))
    else:
        bounded.start_date.CopyFrom(times.to_timestamp(first))
    if kind == "delta" and not definition.schedule.delta.HasField("reference_time") and start:
        bounded.schedule.delta.reference_time.CopyFrom(definition.start_date)
    bounded.end_date.CopyFrom(times.to_timestamp(min(last, end) if end else last))
    explicit = None
    if schedules.is_evaluated(definition):
        explicit = ExplicitSchedule(intervals=evaluated.intervals if evaluated else (), evaluated=True)
    timetable = schedules.timetable(bounded, explicit)
    tick: schedules.Tick | None = None
    while True:
        tick, _ = timetable.next(tick, now)
        if tick is None or tick.run_after > now or tick.logical > last:
            return
        if tick.logical >= first:
            yield tick
        tick = schedules.Tick(tick.logical, tick.start, tick.end or tick.logical, tick.run_after)


def remaining(layout: Layout, backfill: Backfill, now: int) -> list[schedules.Tick]:
    """Intervals not taken up yet, the next one last."""
    if not backfill.ticks:
        request = backfill.created.request
        first, last = times.from_timestamp(request.from_date), times.from_timestamp(request.to_date)
        backfill.ticks = list(intervals(layout.definition, first, last, now, backfill.created.timetable))
    ticks = backfill.ticks
    if backfill.backward:
        return ticks[: bisect_left(ticks, backfill.last, key=_logical)] if backfill.last else list(ticks)
    return ticks[bisect_right(ticks, backfill.last, key=_logical) :][::-1]


def _logical(tick: schedules.Tick) -> int:
    return tick.logical


# -- what becomes of an interval ---------------------------------------------------------------------------------


def judge(dag: DagState, request: CreateBackfill, known: dict[int, int], logical: int) -> tuple[int, str, str]:
    """Returns the action, the run that it makes or touches, and the reason to skip.

    `known`: by logical date the state of runs that the views know; it counts for those that the scheduler forgot.
    """
    again = _AGAIN.get(request.reprocess_behavior, ())
    run_id = f"backfill__{times.text(logical)}"
    ended = ""
    for position in range(bisect_left(dag.by_date, (logical, "")), len(dag.by_date)):
        date, other = dag.by_date[position]
        if date != logical:
            break
        state = _state_of(dag, other)
        if state in (RUN_QUEUED, RUN_RUNNING):
            return BackfillAction.BACKFILL_ACTION_SKIP, other, f"run {other} of this interval is {_name(state)}"
        if other in dag.runs and any(OPEN[held] for held in dag.runs[other].states):
            return BackfillAction.BACKFILL_ACTION_SKIP, other, f"tasks of run {other} of this interval are being killed"
        ended = other
    if ended:
        state = _state_of(dag, ended)
        if state in again:
            return BackfillAction.BACKFILL_ACTION_REPROCESS, ended, ""
        return BackfillAction.BACKFILL_ACTION_SKIP, ended, f"run {ended} of this interval exists: {_name(state)}"
    if logical in known:
        if known[logical] not in again:
            reason = f"a run of this interval exists: {_name(known[logical])}"
            return BackfillAction.BACKFILL_ACTION_SKIP, "", reason
        # Only its history is left, so it can't be cleared: a new run repeats it.
        run_id = f"{run_id}~{request.backfill_id[:12]}"
    return BackfillAction.BACKFILL_ACTION_CREATE, run_id, ""


def _state_of(dag: DagState, run_id: str) -> int:
    run = dag.runs.get(run_id) or dag.finished[run_id]
    return snapshots.summary(run).state if isinstance(run, bytes) else run.state


def _name(state: int) -> str:
    return RUN_STATE_NAMES.get(state, "unknown")


def _known(request: CreateBackfill) -> dict[int, int]:
    return {times.from_timestamp(run.logical_date): int(run.state) for run in request.known_runs}


def plan(dag: DagState, layout: Layout, request: CreateBackfill, ticks: list[schedules.Tick]) -> BackfillPlan:
    """Returns what a backfill of these intervals would do, in its order. Changes nothing."""
    known = _known(request)
    found = BackfillPlan(interval_count=len(ticks), version=layout.version, task_count=_task_count(layout, request))
    for tick in ticks if request.run_order != RunOrder.RUN_ORDER_BACKWARD else reversed(ticks):
        action, run_id, reason = judge(dag, request, known, tick.logical)
        if action == BackfillAction.BACKFILL_ACTION_CREATE:
            found.create_count += 1
        elif action == BackfillAction.BACKFILL_ACTION_REPROCESS:
            found.reprocess_count += 1
        else:
            found.skip_count += 1
        if len(found.intervals) < LISTED_INTERVALS:
            found.intervals.append(_interval(tick, action, run_id, reason))
    return found


def _task_count(layout: Layout, request: CreateBackfill) -> int:
    return sum(layout.part(tuple(request.task_ids)).included) if request.task_ids else layout.n


def _interval(tick: schedules.Tick, action: int, run_id: str, reason: str) -> BackfillInterval:
    made = BackfillInterval(
        logical_date=times.to_timestamp(tick.logical),
        action=BackfillAction.Name(action),  # type: ignore[arg-type]
        run_id=run_id,
        reason=reason,
    )
    if tick.end:
        made.data_interval_start.CopyFrom(times.to_timestamp(tick.start))
        made.data_interval_end.CopyFrom(times.to_timestamp(tick.end))
    return made


# -- commands ----------------------------------------------------------------------------------------------------


def ask(d: Decision, dag: DagState, command: Command, layout: Layout) -> BackfillPlan | None:
    """Creates a backfill, or returns its plan if that is all that is asked for. Raises Rejected."""
    request = CreateBackfill()
    request.CopyFrom(command.create_backfill)
    if request.backfill_id in dag.backfills and not request.dry_run:
        return None
    ticks = _check(d, dag, layout, request)
    if request.dry_run:
        return plan(dag, layout, request, ticks)
    request.from_date.CopyFrom(times.to_timestamp(ticks[0].logical))
    request.to_date.CopyFrom(times.to_timestamp(ticks[-1].logical))

    def fill(event: WorkflowEvent) -> None:
        created = event.backfill_created
        created.request.CopyFrom(request)
        created.request.ClearField("intervals")
        created.version = layout.version
        created.interval_count = len(ticks)
        created.actor.CopyFrom(command.actor)
        evaluated = _evaluated(dag, layout, request)
        if evaluated is not None:
            begin, end = ticks[0].logical, ticks[-1].logical
            created.timetable.version = layout.version
            created.timetable.intervals.extend(
                interval
                for interval in evaluated.intervals
                if begin <= times.from_timestamp(interval.logical_date) <= end
            )

    d.emit(dag.dag_id, "", fill)
    d.dag_changed(dag)
    return None


def _evaluated(dag: DagState, layout: Layout, request: CreateBackfill) -> TimetableEvaluated | None:
    """The runs of a custom timetable: those that it was asked for, else those that are known by chance."""
    if request.intervals:
        return TimetableEvaluated(version=layout.version, intervals=request.intervals)
    known = dag.evaluated
    return known if known is not None and known.version == layout.version else None


def _check(d: Decision, dag: DagState, layout: Layout, request: CreateBackfill) -> list[schedules.Tick]:
    """Fills in defaults; returns the intervals, oldest first."""
    request.run_order = request.run_order or RunOrder.RUN_ORDER_FORWARD
    request.reprocess_behavior = request.reprocess_behavior or ReprocessBehavior.REPROCESS_BEHAVIOR_NONE
    request.max_active_runs = request.max_active_runs or DEFAULT_MAX_ACTIVE_RUNS
    request.pool = request.pool or BACKFILL_POOL
    name = f"a backfill of {dag.dag_id}"
    first, last = times.from_timestamp(request.from_date), times.from_timestamp(request.to_date)
    if dag.removed:
        raise Rejected("DAG_REMOVED", f"DAG {dag.dag_id} has been removed: bring its file back before backfilling it")
    if not request.backfill_id or not first or not last or first > last or request.max_active_runs < 1:
        raise Rejected(
            "INVALID_ARGUMENT",
            f"{name} needs an id, from_date ≤ to_date and max_active_runs ≥ 1: got {request.backfill_id!r}, "
            f"{times.text(first)} to {times.text(last)}, {request.max_active_runs}",
        )
    kind = layout.definition.schedule.WhichOneof("kind")
    if kind in _NO_SCHEDULE or (kind == "assets" and not _by_time_too(layout.definition)):
        raise Rejected("NO_SCHEDULE", f"DAG {dag.dag_id} has no schedule, so it has no intervals: trigger it by hand")
    if request.run_order == RunOrder.RUN_ORDER_BACKWARD and layout.has_past:
        raise Rejected(
            "INVALID_ORDER",
            f"tasks of {dag.dag_id} depend on their past: {name} has to run forward",
        )
    _check_tasks(dag, layout, request)
    ticks: list[schedules.Tick] = []
    most = d.state.limits.max_backfill_runs
    for tick in intervals(layout.definition, first, last, d.now, _evaluated(dag, layout, request)):
        ticks.append(tick)
        if len(ticks) > most:
            raise Rejected(
                "TOO_MANY_RUNS",
                f"{name} from {times.text(first)} to {times.text(last)} has more than {most:,} runs: "
                "split it into shorter ones",
            )
    if not ticks:
        raise Rejected(
            "NOTHING_TO_BACKFILL",
            f"no interval of {dag.dag_id} has a logical date from {times.text(first)} to {times.text(last)} and is "
            "over: widen the dates",
        )
    for other in dag.backfills.values():
        begin, end = (
            times.from_timestamp(other.created.request.from_date),
            times.from_timestamp(other.created.request.to_date),
        )
        if not other.ended and begin <= ticks[-1].logical and ticks[0].logical <= end:
            raise Rejected(
                "BACKFILL_OVERLAPS",
                f"backfill {other.backfill_id} of {dag.dag_id} is {STATE_NAMES[other.state]} for {times.text(begin)} "
                f"to {times.text(end)}: wait for its end or cancel it",
            )
    return ticks


def _by_time_too(definition: DagDefinition) -> bool:
    return definition.schedule.assets.HasField("or_cron") or definition.schedule.assets.HasField("or_time")


def _check_tasks(dag: DagState, layout: Layout, request: CreateBackfill) -> None:
    if not request.task_ids or layout.definition.dynamic:
        # A dynamic DAG's tasks are not known before each run has its layout.
        return
    unknown = [task_id for task_id in request.task_ids if task_id not in layout.index]
    if unknown:
        raise Rejected(
            "TASK_NOT_FOUND",
            f"no such tasks in {dag.dag_id} (version {layout.version}): {', '.join(unknown[:20])}"
            f"{f' and {len(unknown) - 20} more' if len(unknown) > 20 else ''}: check them against its graph",
        )
    included = layout.part(tuple(request.task_ids)).included
    for position, length in layout.lengths.items():
        missing = [source for source in mapping.sources(length) if included[position] and not included[source]]
        if missing:
            raise Rejected(
                "TASK_MISSING",
                f"task {layout.task_ids[position]} of {dag.dag_id} maps over the result of "
                f"{layout.task_ids[missing[0]]}: add that task to the list",
            )


def _find(dag: DagState, backfill_id: str) -> Backfill:
    found = dag.backfills.get(backfill_id)
    if found is None:
        raise Rejected(
            "BACKFILL_NOT_FOUND",
            f"backfill {backfill_id!r} of {dag.dag_id} is not known: see the DAG's list of backfills",
        )
    return found


def pause(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Makes no further runs until it is resumed."""
    backfill = _find(dag, command.pause_backfill.backfill_id)
    if backfill.state != PAUSED:
        _refuse_ended(dag, backfill, "paused")
        _change(d, dag, backfill, PAUSED, command=command)
    return "", 0


def resume(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    backfill = _find(dag, command.resume_backfill.backfill_id)
    _refuse_ended(dag, backfill, "resumed")
    if backfill.state == PAUSED:
        _change(d, dag, backfill, RUNNING, command=command)
    return "", 0


def cancel(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Makes no further runs; queued ones end, and running ones on demand. Returns how many ended."""
    backfill = _find(dag, command.cancel_backfill.backfill_id)
    if backfill.state == CANCELLED:
        return "", 0
    _refuse_ended(dag, backfill, "cancelled")
    _change(d, dag, backfill, CANCELLED, command=command)
    count = 0
    reason = f"its backfill was cancelled by {command.actor.name or 'a person'}"
    for run in list(dag.runs.values()):
        if run.backfill_id != backfill.backfill_id:
            continue
        if run.state == RUN_QUEUED or (run.state == RUN_RUNNING and command.cancel_backfill.stop_runs):
            stop_tasks(d, dag, run, reason)
            end_run(d, dag, run, RUN_FAILED, reason, marked=True)
            count += 1
    return "", count


def _refuse_ended(dag: DagState, backfill: Backfill, verb: str) -> None:
    if backfill.ended:
        raise Rejected(
            "INVALID_STATE",
            f"backfill {backfill.backfill_id} of {dag.dag_id} is {STATE_NAMES[backfill.state]}: it can't be {verb}",
        )


def _change(
    d: Decision, dag: DagState, backfill: Backfill, new: int, reason: str = "", command: Command | None = None
) -> None:
    def fill(event: WorkflowEvent) -> None:
        changed = event.backfill_state_changed
        changed.backfill_id = backfill.backfill_id
        changed.state = new  # type: ignore[assignment]
        changed.reason = reason
        if command is not None:
            changed.actor.CopyFrom(command.actor)

    d.emit(dag.dag_id, "", fill)
    d.dag_changed(dag)


# -- going on ----------------------------------------------------------------------------------------------------


def advance(d: Decision, dag: DagState) -> None:
    """Takes up the next intervals of the DAG's backfills while they have room, and ends those that are through."""
    if dag.removed or dag.paused:
        return
    for backfill in list(dag.backfills.values()):
        if backfill.state in (CREATED, RUNNING):
            _advance(d, dag, backfill)


def _advance(d: Decision, dag: DagState, backfill: Backfill) -> None:
    request = backfill.created.request
    layout = d.state.layouts.get(dag.dag_id, backfill.created.version)
    if layout is None:
        return
    room = request.max_active_runs - sum(dag.backfill_runs.get(backfill.backfill_id, ()))
    left = remaining(layout, backfill, d.now)
    if left and blockers.next_of_backfill(dag, backfill) is None:
        known = _known(request)
        advanced = BackfillAdvanced(backfill_id=backfill.backfill_id)
        while left and room > 0:
            tick = left.pop()
            action, run_id, reason = judge(dag, request, known, tick.logical)
            advanced.intervals.append(_interval(tick, action, run_id, reason))
            if action == BackfillAction.BACKFILL_ACTION_CREATE:
                _create(d, dag, backfill, layout, tick, run_id)
                room -= 1
            elif action == BackfillAction.BACKFILL_ACTION_REPROCESS:
                clearing.reprocess(d, dag, run_id, backfill, layout, membership(request, ()))
                room -= 1
        if backfill.state == CREATED:
            _change(d, dag, backfill, RUNNING)
        d.emit(dag.dag_id, "", lambda event: event.backfill_advanced.CopyFrom(advanced))
        d.dag_changed(dag)
    if not left and backfill.state == RUNNING and not any(dag.backfill_runs.get(backfill.backfill_id, ())):
        _change(d, dag, backfill, DONE)


def _create(d: Decision, dag: DagState, backfill: Backfill, layout: Layout, tick: schedules.Tick, run_id: str) -> None:
    request = backfill.created.request
    extra = RunCreated(note=request.note, actor=backfill.created.actor, partition_key=request.partition_key)
    if request.HasField("conf"):
        extra.conf.CopyFrom(request.conf)
    extra.backfill.CopyFrom(membership(request, tuple(request.task_ids)))
    create(d, dag, layout, run_id, tick, int(RunType.RUN_TYPE_BACKFILL), extra)


def membership(request: CreateBackfill, task_ids: tuple[str, ...]) -> BackfillRun:
    """What its runs know of a backfill."""
    return BackfillRun(
        backfill_id=request.backfill_id,
        pool=request.pool,
        task_ids=task_ids,
        skip_callbacks=request.skip_callbacks,
    )
