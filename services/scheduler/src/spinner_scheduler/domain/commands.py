"""What people and programs ask for. Each command is answered once by CommandAccepted or CommandRejected.

A command whose request id was answered already changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from spinner_proto.common.v1.common_pb2 import Actor, RunType
from spinner_proto.definitions.v1.definitions_pb2 import TimetableAnswer
from spinner_proto.events.v1.events_pb2 import BackfillPlan, ClearPlan, RunCreated, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, Command, MarkRun, MarkTasks, SetPaused, StopRun, TriggerRun

from spinner_scheduler.domain import assets, backfills, decisions, partitions, schedules, times, timetable_requests
from spinner_scheduler.domain.clearing import choose, choose_to_clear, clear, current_layout, find_run, kill, tell
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.finished_runs import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import (
    create,
    end_run,
    end_try,
    set_run_state,
    stop_tasks,
    update_dag,
    withdraw,
)
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import (
    FAILED,
    FINISHED,
    NONE,
    OPEN,
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


def handle(d: Decision, command: Command) -> None:
    """Takes a command and answers it."""
    if command.request_id and command.request_id in d.state.request_ids:
        return
    if command.HasField("create_asset_event"):
        assets.create_by_hand(d, command)
        return
    held_for = d.state.dags.get(command.dag_id)
    if held_for is not None and _hold(d, held_for, command):
        return
    _decide(d, command)


def _decide(d: Decision, command: Command, failure: str = "") -> None:
    """Does what the command says, or refuses it for a failure."""
    run_id, count = "", 0
    plan: BackfillPlan | None = None
    cleared: ClearPlan | None = None
    try:
        if failure:
            raise Rejected("TIMETABLE_FAILED", f"{failure}: correct the timetable, or give the data interval yourself")
        dag = find_dag(d.state, command.dag_id)
        kind = command.WhichOneof("kind") or ""
        handler = _HANDLERS.get(kind)
        if kind == "clear_tasks":
            cleared = clear(d, dag, command)
            run_id, count = command.clear_tasks.run_id, cleared.task_count
        elif handler is None:
            raise Rejected("UNKNOWN_COMMAND", "this scheduler does not know the command: upgrade it")
        elif kind == "create_backfill" and command.create_backfill.dry_run:
            plan = backfills.ask(d, dag, command, current_layout(d.state, dag))
        else:
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
        if plan is not None:
            event.command_accepted.backfill_plan.CopyFrom(plan)
        if cleared is not None:
            event.command_accepted.clear_plan.CopyFrom(cleared)

    d.emit(command.dag_id, "", fill)


# -- commands that wait for a custom timetable -------------------------------------------------------------------


def _hold(d: Decision, dag: DagState, command: Command) -> bool:
    """Holds a command that only the DAG's custom timetable can complete; says whether it is held."""
    if command.request_id in dag.held:
        return True
    layout = d.state.layout_of(dag)
    if layout is None or dag.removed or timetable_requests.question_of(layout.definition, command) is None:
        return False
    d.emit(dag.dag_id, "", lambda event: event.command_held.command.CopyFrom(command))
    d.result.timetables[dag.dag_id] = timetable_requests.record(dag, layout.definition)
    return True


def release(d: Decision, dag: DagState, answers: Mapping[str, TimetableAnswer] | None = None) -> None:
    """Decides held commands: those that are answered, all of them without answers."""
    chosen = [command for request_id, command in dag.held.items() if answers is None or request_id in answers]
    for command in chosen:
        d.emit(dag.dag_id, "", partial(_released, command.request_id))
        answer = answers[command.request_id] if answers is not None else None
        asked = timetable_requests.completed(command, answer) if answer is not None else command
        _decide(d, asked, answer.error if answer is not None else "")
    layout = d.state.layout_of(dag)
    if chosen and layout is not None:
        d.result.timetables[dag.dag_id] = timetable_requests.record(dag, layout.definition)


def release_needless(d: Decision, dag: DagState, layout: Layout) -> None:
    """Decides held commands when a new version has no custom timetable."""
    if dag.held and not schedules.is_evaluated(layout.definition):
        release(d, dag)


def _released(request_id: str, event: WorkflowEvent) -> None:
    event.command_released.request_id = request_id


def find_dag(state: PartitionState, dag_id: str) -> DagState:
    dag = state.dags.get(dag_id)
    if dag is None or not dag.version:
        raise Rejected(
            "DAG_NOT_FOUND",
            f"DAG {dag_id!r} is not known to partition {state.here.inbox}[{state.here.partition}]: "
            "check its id, and the parse errors of its file",
        )
    return dag


def preview_clear(state: PartitionState, dag_id: str, wish: ClearTasks, most: int) -> ClearPlan:
    """Returns what a clear would do now, with the first `most` tasks. Raises Rejected as the command is refused."""
    return tell(choose_to_clear(state, find_dag(state, dag_id), wish), most)


# -- DAGs and new runs -----------------------------------------------------------------------------------------


def _trigger(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: TriggerRun = command.trigger_run
    layout = current_layout(d.state, dag)
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
    if len(wish.partition_key) > partitions.MAX_KEY:
        raise Rejected("INVALID_PARTITION_KEY", f"the partition key has more than {partitions.MAX_KEY} characters")
    extra = RunCreated(note=wish.note, partition_key=wish.partition_key)
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


# -- marking and stopping ---------------------------------------------------------------------------------------


def _mark_tasks(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    wish: MarkTasks = command.mark_tasks
    new = int(wish.state)
    if new not in (SUCCESS, FAILED, SKIPPED):
        name = TASK_STATE_NAMES.get(new, str(new))
        raise Rejected("INVALID_STATE", f"tasks can't be marked {name}: use success, failed or skipped")
    chosen = choose(d.state, dag, wish, lambda run, slot: run.states[slot] != new)
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
    bad = any(run.states[slot] in (FAILED, UPSTREAM_FAILED) for leaf in run.leaves for slot in run.slots_of(leaf))
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
    run = find_run(d.state, dag, wish.run_id)
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
    run = find_run(d.state, dag, wish.run_id)
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


def _create_backfill(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    backfills.ask(d, dag, command, current_layout(d.state, dag))
    return "", dag.backfills[command.create_backfill.backfill_id].created.interval_count


_Handler = Callable[[Decision, DagState, Command], tuple[str, int]]
_HANDLERS: dict[str, _Handler] = {
    "trigger_run": _trigger,
    "set_paused": _set_paused,
    "mark_tasks": _mark_tasks,
    "mark_run": _mark_run,
    "stop_run": _stop_run,
    "create_backfill": _create_backfill,
    "pause_backfill": backfills.pause,
    "resume_backfill": backfills.resume,
    "cancel_backfill": backfills.cancel,
    "decide_task": decisions.decide,
    "kill_tasks": kill,
}

__all__ = ["Rejected", "handle", "mark", "preview_clear", "wake"]
