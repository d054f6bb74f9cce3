"""What people and programs ask for. Each command is answered once by CommandAccepted or CommandRejected.

A command whose request id was answered already changes nothing. A refusal has a stable code and a message that
says what, where and how to fix it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from spinner_proto.common.v1.common_pb2 import Actor, Blob, Outcome, RunType
from spinner_proto.events.v1.events_pb2 import RunCreated, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, Command, MarkRun, MarkTasks, SetPaused, StopRun, TriggerRun

from spinner_scheduler.domain import schedules, times
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.evolve import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.reports import clear_event
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import (
    cancel,
    create,
    end_run,
    end_try,
    set_run_state,
    stop_tasks,
    update_dag,
    withdraw,
)
from spinner_scheduler.domain.state import DagState
from spinner_scheduler.domain.states import (
    DEFERRED,
    FAILED,
    FINISHED,
    HOLDING,
    NONE,
    OPEN,
    REMOVED,
    RESTARTING,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_STATE_NAMES,
    RUN_SUCCESS,
    SKIPPED,
    SUCCESS,
    TASK_STATE_NAMES,
    UP_FOR_RESCHEDULE,
    UPSTREAM_FAILED,
)

_RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,250}")
_PREFIX = {
    RunType.RUN_TYPE_SCHEDULED: "scheduled",
    RunType.RUN_TYPE_BACKFILL: "backfill",
    RunType.RUN_TYPE_ASSET: "asset",
    RunType.RUN_TYPE_TRIGGERED: "triggered",
}


class Rejected(Exception):  # noqa: N818 - an answer, not an error
    """An answer, not a failure."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def handle(d: Decision, command: Command) -> None:
    """Takes a command and answers it."""
    if command.request_id and command.request_id in d.state.request_ids:
        return
    run_id, count = "", 0
    try:
        dag = d.state.dags.get(command.dag_id)
        if dag is None or not dag.version:
            raise Rejected(
                "DAG_NOT_FOUND",
                f"DAG {command.dag_id!r} is not known to partition {d.state.here.inbox}[{d.state.here.partition}]: "
                "check its id, and the parse errors of its file",
            )
        kind = command.WhichOneof("kind") or ""
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise Rejected("UNKNOWN_COMMAND", "this scheduler does not know the command: upgrade it")
        run_id, count = handler(d, dag, command)
    except Rejected as refusal:
        code, text = refusal.code, str(refusal)

        def fill_refusal(event: WorkflowEvent) -> None:
            event.command_rejected.request_id = command.request_id
            event.command_rejected.actor.CopyFrom(command.actor)
            event.command_rejected.code = code
            event.command_rejected.message = text

        d.emit(command.dag_id, "", fill_refusal)
        return

    def fill(event: WorkflowEvent) -> None:
        event.command_accepted.request_id = command.request_id
        event.command_accepted.actor.CopyFrom(command.actor)
        event.command_accepted.run_id = run_id
        event.command_accepted.task_count = count

    d.emit(command.dag_id, "", fill)


# -- DAGs and new runs -----------------------------------------------------------------------------------------


def _trigger(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: TriggerRun = command.trigger_run
    layout = _current_layout(d, dag)
    if dag.removed:
        raise Rejected("DAG_REMOVED", f"DAG {dag.dag_id} has been removed: bring its file back before triggering it")
    run_type = int(wish.run_type or RunType.RUN_TYPE_MANUAL)
    logical = times.from_timestamp(wish.logical_date) or times.from_timestamp(command.time) or d.now
    known = {entry[0] for entry in dag.by_date}
    if not wish.HasField("logical_date"):
        while logical in known:
            logical += 1
    prefix = _PREFIX.get(run_type, "manual")  # type: ignore[call-overload]
    run_id = wish.run_id or f"{prefix}__{times.text(logical)}"
    if not _RUN_ID.fullmatch(run_id):
        raise Rejected(
            "INVALID_RUN_ID", f"run id {run_id!r} is not valid: use 1 to 250 of the characters A-Za-z0-9_.~:+-"
        )
    if run_id in dag.runs or run_id in dag.finished:
        raise Rejected(
            "RUN_EXISTS", f"run {run_id} of {dag.dag_id} exists already: choose another run id, or clear that run"
        )
    if wish.HasField("logical_date") and logical in known:
        other = next(entry[1] for entry in dag.by_date if entry[0] == logical)
        raise Rejected(
            "RUN_EXISTS",
            f"run {other} of {dag.dag_id} has the logical date {times.text(logical)} already: "
            "choose another one, or clear that run",
        )
    if wish.HasField("data_interval_start"):
        start, end = times.from_timestamp(wish.data_interval_start), times.from_timestamp(wish.data_interval_end)
    else:
        start, end = dag.timetable(layout.definition).manual(logical)
    extra = RunCreated(note=wish.note)
    extra.actor.CopyFrom(command.actor)
    if wish.HasField("conf"):
        extra.conf.CopyFrom(wish.conf)
    if wish.HasField("triggered_by"):
        extra.triggered_by.CopyFrom(wish.triggered_by)
    create(d, dag, layout, run_id, schedules.Tick(logical, start, end, d.now), run_type, extra)
    return run_id, layout.n


def _set_paused(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: SetPaused = command.set_paused
    if dag.paused == wish.paused:
        return "", 0
    update_dag(
        d,
        dag,
        paused=wish.paused,
        paused_by=command.actor,
        failed_runs=0 if not wish.paused else None,
        replan=not wish.paused,
    )
    if not wish.paused:
        wake(d, dag)
    d.dag_changed(dag)
    return "", 0


def wake(d: Decision, dag: DagState) -> None:
    """Lets everything that a pause held back look again."""
    for run_id, slot in dag.parked_by_pause:
        run = dag.runs.get(run_id)
        if run is not None and slot in run.wanted:
            d.state.enqueue(run, slot)
    dag.parked_by_pause = []
    for run in dag.runs.values():
        run.dirty.extend(slot for slot in run.live_slots() if run.states[slot] == NONE)
        d.state.dirty_runs[id(run)] = run
        d.touched[(dag.dag_id, run.run_id)] = None
        for slot in run.next_time:
            d.state.arm(run, slot, run.states[slot])
        d.state.arm_run(run)


def _current_layout(d: Decision, dag: DagState) -> Layout:
    layout = d.state.layout_of(dag)
    if layout is None:
        raise Rejected(
            "DEFINITION_MISSING",
            f"the definition {dag.dag_id}@{dag.version} is not in workflow_definitions: have dag-sync publish it again",
        )
    return layout


# -- choosing task instances -----------------------------------------------------------------------------------


def _find_run(d: Decision, dag: DagState, run_id: str) -> Run:
    run = dag.runs.get(run_id) or revive(d.state, dag, run_id)
    if run is None:
        raise Rejected(
            "RUN_NOT_FOUND",
            f"run {run_id!r} of {dag.dag_id} is not known: check its id; of runs that ended, the latest "
            f"{d.state.limits.keep_finished_runs} can be changed, for an older one trigger a new run",
        )
    return run


def _choose(
    d: Decision, dag: DagState, wish: ClearTasks | MarkTasks, keep: Callable[[Run, int], bool]
) -> list[tuple[Run, list[int]]]:
    run = _find_run(d, dag, wish.run_id)
    runs = [run]
    if wish.past or wish.future:
        for logical, run_id in list(dag.by_date):
            if run_id != run.run_id and (
                (wish.past and logical <= run.logical) or (wish.future and logical >= run.logical)
            ):
                runs.append(_find_run(d, dag, run_id))
    unknown = [task_id for task_id in wish.task_ids if task_id not in run.layout.index]
    if unknown:
        raise Rejected(
            "TASK_NOT_FOUND",
            f"task {unknown[0]!r} is not in run {run.run_id} of {dag.dag_id} (version {run.version}): "
            "check its id against the run's graph",
        )
    chosen: list[tuple[Run, list[int]]] = []
    for each in runs:
        slots = [slot for slot in _slots(each, wish) if keep(each, slot)]
        if slots:
            chosen.append((each, slots))
    return chosen


def _slots(run: Run, wish: ClearTasks | MarkTasks) -> list[int]:
    layout = run.layout
    if not wish.task_ids:
        return run.live_slots()
    named = {layout.index[task_id] for task_id in wish.task_ids if task_id in layout.index}
    members = set(named)
    for flag, sets in ((wish.upstream, layout.ancestors), (wish.downstream, layout.descendants)):
        if flag:
            for position in named:
                bits = sets[position]
                members.update(other for other in range(layout.n) if bits >> other & 1)
    if isinstance(wish, ClearTasks):
        members |= layout.scopes_of(members)
    wanted = set(wish.map_indexes)
    return [
        slot
        for position in sorted(members)
        for slot in run.slots_of(position)
        if not (wanted and position in named) or run.map_index(slot) in wanted
    ]


# -- clearing --------------------------------------------------------------------------------------------------


def _clear(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: ClearTasks = command.clear_tasks

    def keep(run: Run, slot: int) -> bool:
        state = run.states[slot]
        if wish.only_failed or wish.only_running:
            return (wish.only_failed and state in (FAILED, UPSTREAM_FAILED)) or (
                wish.only_running and bool(OPEN[state])
            )
        return state != NONE

    chosen = _choose(d, dag, wish, keep)
    if not chosen:
        raise Rejected(
            "NOTHING_TO_CLEAR",
            f"no task instance of run {wish.run_id} of {dag.dag_id} is in a state that this would clear: "
            "widen the choice",
        )
    count = 0
    for run, slots in chosen:
        if wish.latest_version and run.version != dag.version:
            run, slots = _rebind(d, dag, run, slots)
        if wish.HasField("conf"):
            d.emit(dag.dag_id, run.run_id, lambda event: event.run_conf_changed.conf.CopyFrom(wish.conf))
        conf = wish.task_conf if wish.HasField("task_conf") else None
        for slot in slots:
            count += _clear_one(d, dag, run, slot, command.actor, conf)
        live = dag.runs.get(run.run_id)
        if live is not None and live.state in (RUN_SUCCESS, RUN_FAILED):
            set_run_state(d, dag, live, RUN_QUEUED)
    return wish.run_id, count


def _clear_one(d: Decision, dag: DagState, run: Run, slot: int, actor: Actor, conf: Blob | None) -> int:
    # Evolving may have brought the run back: work on the live one.
    run = dag.runs.get(run.run_id, run)
    state = run.states[slot]
    if state == RESTARTING:
        return 0
    if HOLDING[state] or state == DEFERRED:
        cancel(d, dag, run, slot, int(Outcome.OUTCOME_KILLED_BY_USER), "cleared while it ran", RESTARTING, conf)
        return 1
    if state == UP_FOR_RESCHEDULE or slot in run.resumes:
        end_try(d, dag, run, slot, FAILED, "cleared while it waited")
    else:
        withdraw(d, run, slot)
    clear_event(d, run, slot, conf, actor)
    return 1


def _rebind(d: Decision, dag: DagState, run: Run, slots: list[int]) -> tuple[Run, list[int]]:
    """Moves a run to the DAG's current version; what vanished from the layout becomes REMOVED first."""
    layout = _current_layout(d, dag)
    if layout.definition.dynamic:
        raise Rejected(
            "INVALID_STATE",
            f"{dag.dag_id} computes its layout once a run: clear without the latest version, or trigger a new run",
        )
    busy = [slot for slot in run.live_slots() if OPEN[run.states[slot]]]
    if busy:
        task_id = run.layout.task_ids[run.position(busy[0])]
        raise Rejected(
            "INVALID_STATE",
            f"{task_id} of run {run.run_id} is {TASK_STATE_NAMES[run.states[busy[0]]]}: stop the run or wait for its "
            "end before it takes the latest version",
        )
    names = [(run.layout.task_ids[run.position(slot)], run.map_index(slot)) for slot in slots]
    for slot in run.live_slots():
        if slot in run.resumes or run.states[slot] == UP_FOR_RESCHEDULE:
            end_try(d, dag, run, slot, FAILED, "its run took another version")
        withdraw(d, run, slot)
        position = run.position(slot)
        target = layout.index.get(run.layout.task_ids[position])
        if target is None:
            d.task_state(run, slot, REMOVED, reason=f"version {layout.version} has no such task")
        elif (position in run.layout.lengths) != (target in layout.lengths) and run.states[slot] != NONE:
            # Its instances are others now.
            clear_event(d, run, slot)

    def fill(event: WorkflowEvent) -> None:
        event.run_version_changed.version = layout.version
        event.run_version_changed.task_count = layout.n

    d.emit(dag.dag_id, run.run_id, fill)
    run = dag.runs.get(run.run_id, run)
    found = [run.slot(task_id, map_index) for task_id, map_index in names]
    return run, [slot for slot in found if slot >= 0 and run.states[slot] != NONE]


# -- marking and stopping ---------------------------------------------------------------------------------------


def _mark_tasks(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: MarkTasks = command.mark_tasks
    new = int(wish.state)
    if new not in (SUCCESS, FAILED, SKIPPED):
        name = TASK_STATE_NAMES.get(new, str(new))
        raise Rejected("INVALID_STATE", f"tasks can't be marked {name}: use success, failed or skipped")
    chosen = _choose(d, dag, wish, lambda run, slot: run.states[slot] != new)
    count = 0
    for run, slots in chosen:
        for slot in slots:
            mark(d, dag, dag.runs.get(run.run_id, run), slot, new, command.actor)
            count += 1
        live = dag.runs.get(run.run_id)
        if live is not None and live.state in (RUN_SUCCESS, RUN_FAILED):
            set_run_state(d, dag, live, RUN_QUEUED)
        elif live is None and run.run_id in dag.finished:
            _judge_again(d, dag, run.run_id)
    return wish.run_id, count


def _judge_again(d: Decision, dag: DagState, run_id: str) -> None:
    """A finished run whose tasks were marked ends again, by what its leaves are now."""
    run = revive(d.state, dag, run_id)
    if run is None:
        return
    bad = any(
        run.states[slot] in (FAILED, UPSTREAM_FAILED) for leaf in run.layout.leaves for slot in run.slots_of(leaf)
    )
    new = RUN_FAILED if bad else RUN_SUCCESS
    if run.state != new:
        set_run_state(d, dag, run, new, marked=True, reason="its tasks were marked")


def mark(d: Decision, dag: DagState, run: Run, slot: int, new: int, actor: Actor) -> None:
    """Gives an instance a state by hand; a running try of it ends at once."""
    state = run.states[slot]
    if OPEN[state] or state == UP_FOR_RESCHEDULE or slot in run.resumes:
        name = TASK_STATE_NAMES[new]
        end_try(d, dag, run, slot, new, f"marked {name} while it was {TASK_STATE_NAMES[state]}")
    else:
        withdraw(d, run, slot)
    run = dag.runs.get(run.run_id, run)
    d.task_state(run, slot, new, try_number=run.tries[slot], marked=True, actor=actor)


def _mark_run(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: MarkRun = command.mark_run
    new = int(wish.state)
    if new not in (RUN_SUCCESS, RUN_FAILED):
        name = RUN_STATE_NAMES.get(new, str(new))
        raise Rejected("INVALID_STATE", f"a run can't be marked {name}: use success or failed")
    run = _find_run(d, dag, wish.run_id)
    count = 0
    for slot in run.live_slots():
        state = run.states[slot]
        if new == RUN_SUCCESS:
            target = SUCCESS if state not in (SUCCESS, SKIPPED) else 0
        elif FINISHED[state]:
            target = 0
        else:
            target = FAILED if OPEN[state] else SKIPPED
        if target:
            mark(d, dag, dag.runs.get(run.run_id, run), slot, target, command.actor)
            count += 1
    run = dag.runs.get(run.run_id, run)
    if run.state == new:
        return wish.run_id, count
    if run.run_id in dag.runs:
        end_run(d, dag, run, new, f"marked by {command.actor.name or 'a person'}", marked=True)
    else:
        set_run_state(d, dag, run, new, marked=True, reason=f"marked by {command.actor.name or 'a person'}")
    return wish.run_id, count


def _stop_run(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: StopRun = command.stop_run
    run = _find_run(d, dag, wish.run_id)
    if run.state not in (RUN_QUEUED, RUN_RUNNING):
        raise Rejected(
            "INVALID_STATE",
            f"run {run.run_id} of {dag.dag_id} has ended ({RUN_STATE_NAMES[run.state]}): there is nothing to stop",
        )
    count = run.unfinished
    who = command.actor.name or "a person"
    stop_tasks(d, dag, run, f"the run was stopped by {who}")
    end_run(d, dag, run, RUN_FAILED, f"stopped by {who}", marked=True)
    return wish.run_id, count


_Handler = Callable[[Decision, DagState, Command], tuple[str, int]]
_HANDLERS: dict[str, _Handler] = {
    "trigger_run": _trigger,
    "set_paused": _set_paused,
    "clear_tasks": _clear,
    "mark_tasks": _mark_tasks,
    "mark_run": _mark_run,
    "stop_run": _stop_run,
}

__all__ = ["Rejected", "clear_event", "handle", "mark", "wake"]
