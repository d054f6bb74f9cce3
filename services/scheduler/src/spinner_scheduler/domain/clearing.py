"""Clearing: task instances start again from nothing, as their run was or under another version.

A run has one version at any moment. When it takes another one while tries of it are in progress, these are killed
first, chosen or not, and their tasks start again too: until the last of them has ended the run only waits
(`Run.rebind`), so that no task ever runs in two versions at once. Tasks that the new version lacks become REMOVED,
those that it adds start from nothing, and the others keep their state.
"""

from __future__ import annotations

from collections.abc import Callable

from spinner_proto.common.v1.common_pb2 import Actor, Blob, Outcome
from spinner_proto.events.v1.events_pb2 import BackfillRun, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, Command, KillTasks, MarkTasks

from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.evolve import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.reports import clear_event
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import cancel, end_try, set_run_state, withdraw
from spinner_scheduler.domain.state import DagState
from spinner_scheduler.domain.states import (
    DEFERRED,
    FAILED,
    HOLDING,
    NONE,
    OPEN,
    REMOVED,
    RESTARTING,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_SUCCESS,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    UPSTREAM_FAILED,
)


def current_layout(d: Decision, dag: DagState) -> Layout:
    """Returns the layout of the DAG's current version. Raises Rejected when its definition is missing."""
    layout = d.state.layout_of(dag)
    if layout is None:
        raise Rejected(
            "DEFINITION_MISSING",
            f"the definition {dag.dag_id}@{dag.version} is not in workflow_definitions: have dag-sync publish it again",
        )
    return layout


def find_run(d: Decision, dag: DagState, run_id: str) -> Run:
    run = dag.runs.get(run_id) or revive(d.state, dag, run_id)
    if run is None:
        raise Rejected(
            "RUN_NOT_FOUND",
            f"run {run_id!r} of {dag.dag_id} is not known: check its id; of runs that ended, the latest "
            f"{d.state.limits.keep_finished_runs} can be changed, for an older one trigger a new run",
        )
    return run


def choose(
    d: Decision, dag: DagState, wish: ClearTasks | MarkTasks | KillTasks, keep: Callable[[Run, int], bool]
) -> list[tuple[Run, list[int]]]:
    run = find_run(d, dag, wish.run_id)
    runs = [run]
    if not isinstance(wish, KillTasks) and (wish.past or wish.future):
        for logical, run_id in list(dag.by_date):
            if run_id != run.run_id and (
                (wish.past and logical <= run.logical) or (wish.future and logical >= run.logical)
            ):
                runs.append(find_run(d, dag, run_id))
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


def _slots(run: Run, wish: ClearTasks | MarkTasks | KillTasks) -> list[int]:
    layout = run.layout
    if not wish.task_ids:
        return run.live_slots()
    named = {layout.index[task_id] for task_id in wish.task_ids if task_id in layout.index}
    members = set(named)
    if not isinstance(wish, KillTasks):
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


def clear(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Clears what is chosen; returns the run and the number of instances. Raises Rejected."""
    wish: ClearTasks = command.clear_tasks

    def keep(run: Run, slot: int) -> bool:
        state = run.states[slot]
        if wish.only_failed or wish.only_running:
            return (wish.only_failed and state in (FAILED, UPSTREAM_FAILED)) or (
                wish.only_running and bool(OPEN[state])
            )
        return state != NONE

    chosen = choose(d, dag, wish, keep)
    if not chosen:
        raise Rejected(
            "NOTHING_TO_CLEAR",
            f"no task instance of run {wish.run_id} of {dag.dag_id} is in a state that this would clear: "
            "widen the choice",
        )
    latest = _latest(d, dag) if wish.latest_version else None
    conf = wish.task_conf if wish.HasField("task_conf") else None
    count = 0
    for run, slots in chosen:
        if wish.HasField("conf"):
            d.emit(dag.dag_id, run.run_id, lambda event: event.run_conf_changed.conf.CopyFrom(wish.conf))
        for slot in slots:
            count += _clear_one(d, dag, run, slot, command.actor, conf)
        run = dag.runs.get(run.run_id, run)
        if latest is not None and latest.version not in (run.version, run.rebind):
            take_version(d, dag, run, latest, command.actor)
        live = dag.runs.get(run.run_id)
        if live is not None and live.state in (RUN_SUCCESS, RUN_FAILED):
            set_run_state(d, dag, live, RUN_QUEUED)
    return wish.run_id, count


def kill(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Ends tries in progress as failed, without a retry; returns the run and their number. Raises Rejected."""
    wish: KillTasks = command.kill_tasks

    def keep(run: Run, slot: int) -> bool:
        state = run.states[slot]
        return bool(OPEN[state]) or state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE) or slot in run.resumes

    chosen = choose(d, dag, wish, keep)
    if not chosen:
        names = ", ".join(list(wish.task_ids)[:5]) or "a task"
        raise Rejected(
            "NOTHING_TO_KILL",
            f"no try of {names} in run {wish.run_id} of {dag.dag_id} is in progress: see its state",
        )
    reason = f"killed by {command.actor.name or 'a person'}"
    count = 0
    for run, slots in chosen:
        for slot in slots:
            state = run.states[slot]
            if OPEN[state]:
                cancel(d, dag, run, slot, int(Outcome.OUTCOME_KILLED_BY_USER), reason)
            elif state == UP_FOR_RETRY:
                withdraw(d, run, slot)
                d.task_state(run, slot, FAILED, try_number=run.tries[slot], reason=reason, actor=command.actor)
            else:
                end_try(d, dag, run, slot, FAILED, reason)
            count += 1
    return wish.run_id, count


def _latest(d: Decision, dag: DagState) -> Layout:
    layout = current_layout(d, dag)
    if layout.definition.dynamic:
        raise Rejected(
            "INVALID_STATE",
            f"{dag.dag_id} computes its layout once a run: clear without the latest version, or trigger a new run",
        )
    return layout


def _clear_one(d: Decision, dag: DagState, run: Run, slot: int, actor: Actor, conf: Blob | None = None) -> int:
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


# -- another version ---------------------------------------------------------------------------------------------


def take_version(d: Decision, dag: DagState, run: Run, layout: Layout, actor: Actor) -> None:
    """Moves a run to another version: at once, or when its tries in progress have been killed."""
    for slot in run.live_slots():
        state = run.states[slot]
        if OPEN[state] or state in (UP_FOR_RESCHEDULE, SCHEDULED) or slot in run.resumes:
            _clear_one(d, dag, run, slot, actor)
    run = dag.runs.get(run.run_id, run)
    d.emit(dag.dag_id, run.run_id, lambda event: setattr(event.run_version_planned, "version", layout.version))
    finish(d, dag, dag.runs.get(run.run_id, run))


def finish(d: Decision, dag: DagState, run: Run) -> None:
    """Gives a run the version that it waits for, if nothing of the old one is in progress any more."""
    if not run.rebind or any(OPEN[state] for state in run.states):
        return
    layout = d.state.layouts.get(dag.dag_id, run.rebind)
    if layout is None:
        return
    for slot in run.live_slots():
        withdraw(d, run, slot)
        position = run.position(slot)
        target = layout.index.get(run.layout.task_ids[position])
        if target is None:
            d.task_state(run, slot, REMOVED, reason=f"version {layout.version} has no such task")
        elif (position in run.layout.lengths) != (target in layout.lengths) and run.states[slot] != NONE:
            # Its instances are others now.
            clear_event(d, run, slot)
        run = dag.runs.get(run.run_id, run)

    def fill(event: WorkflowEvent) -> None:
        event.run_version_changed.version = layout.version
        event.run_version_changed.task_count = layout.n

    d.emit(dag.dag_id, run.run_id, fill)


# -- for backfills -----------------------------------------------------------------------------------------------


def reprocess(
    d: Decision, dag: DagState, run_id: str, backfill: Backfill, layout: Layout, membership: BackfillRun
) -> None:
    """Has an ended run run again as one of a backfill, under its version: all tasks, or those of its list."""
    request, actor = backfill.created.request, backfill.created.actor
    d.emit(dag.dag_id, run_id, lambda event: event.run_backfill_changed.backfill.CopyFrom(membership))
    if request.HasField("conf"):
        d.emit(dag.dag_id, run_id, lambda event: event.run_conf_changed.conf.CopyFrom(request.conf))
    run = dag.runs[run_id]
    if run.version != layout.version and not layout.definition.dynamic:
        take_version(d, dag, run, layout, actor)
        run = dag.runs[run_id]
    positions = set(range(run.layout.n))
    if request.task_ids:
        named = {run.layout.index[task_id] for task_id in request.task_ids if task_id in run.layout.index}
        positions = named | run.layout.scopes_of(named)
    for position in sorted(positions):
        for slot in run.slots_of(position):
            if run.states[slot] not in (NONE, REMOVED):
                _clear_one(d, dag, run, slot, actor)
    set_run_state(d, dag, run, RUN_QUEUED)
