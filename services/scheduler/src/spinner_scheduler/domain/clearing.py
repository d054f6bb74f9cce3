"""Clearing: task instances start again from nothing, as their run was or under another version.

A run has one version at any moment. When it takes another one while tries of it are in progress, these are killed
first, chosen or not, and their tasks start again too: until the last of them has ended the run only waits
(`Run.rebind`), so that no task ever runs in two versions at once. Tasks that the new version lacks become REMOVED,
those that it adds start from nothing, and the others keep their state.

A preview is the choice that a clear makes first (`choose_to_clear`), told instead of done (`tell`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spinner_proto.common.v1.common_pb2 import Actor, Blob, Outcome
from spinner_proto.events.v1.events_pb2 import (
    BackfillRun,
    ClearedTask,
    ClearEffect,
    ClearPlan,
    ClearReason,
    WorkflowEvent,
)
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, Command, KillTasks, MarkTasks

from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.finished_runs import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.reports import clear_event
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import cancel, end_try, set_run_state, withdraw
from spinner_scheduler.domain.state import PartitionState
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

# Tasks that the answer to a clear lists.
_TOLD_TASKS = 200


def current_layout(state: PartitionState, dag: DagState) -> Layout:
    """Returns the layout of the DAG's current version. Raises Rejected when its definition is missing."""
    layout = state.layout_of(dag)
    if layout is None:
        raise Rejected(
            "DEFINITION_MISSING",
            f"the definition {dag.dag_id}@{dag.version} is not in workflow_definitions: have dag-sync publish it again",
        )
    return layout


def find_run(state: PartitionState, dag: DagState, run_id: str) -> Run:
    run = dag.runs.get(run_id) or revive(state, dag, run_id)
    if run is None:
        raise Rejected(
            "RUN_NOT_FOUND",
            f"run {run_id!r} of {dag.dag_id} is not known: check its id; of runs that ended, the latest "
            f"{state.limits.keep_finished_runs} can be changed, for an older one trigger a new run",
        )
    return run


def choose(
    state: PartitionState, dag: DagState, wish: ClearTasks | MarkTasks | KillTasks, keep: Callable[[Run, int], bool]
) -> list[tuple[Run, dict[int, int]]]:
    """Returns the instances that are meant, by run, each with the ClearReason why it is among them."""
    run = find_run(state, dag, wish.run_id)
    runs = [run]
    if not isinstance(wish, KillTasks) and (wish.past or wish.future):
        for logical, run_id in list(dag.by_date):
            if run_id != run.run_id and (
                (wish.past and logical <= run.logical) or (wish.future and logical >= run.logical)
            ):
                runs.append(find_run(state, dag, run_id))
    unknown = [task_id for task_id in wish.task_ids if task_id not in run.layout.index]
    if unknown:
        raise Rejected(
            "TASK_NOT_FOUND",
            f"task {unknown[0]!r} is not in run {run.run_id} of {dag.dag_id} (version {run.version}): "
            "check its id against the run's graph",
        )
    chosen: list[tuple[Run, dict[int, int]]] = []
    for each in runs:
        slots = {slot: why for slot, why in _slots(each, wish) if keep(each, slot)}
        if slots:
            chosen.append((each, slots))
    return chosen


def _slots(run: Run, wish: ClearTasks | MarkTasks | KillTasks) -> Iterator[tuple[int, int]]:
    layout = run.layout
    if not wish.task_ids:
        yield from ((slot, int(ClearReason.CLEAR_REASON_CHOSEN)) for slot in run.live_slots())
        return
    named = {layout.index[task_id] for task_id in wish.task_ids if task_id in layout.index}
    members = dict.fromkeys(named, int(ClearReason.CLEAR_REASON_CHOSEN))
    if not isinstance(wish, KillTasks):
        for flag, sets, why in (
            (wish.upstream, layout.ancestors, int(ClearReason.CLEAR_REASON_UPSTREAM)),
            (wish.downstream, layout.descendants, int(ClearReason.CLEAR_REASON_DOWNSTREAM)),
        ):
            if flag:
                for position in named:
                    bits = sets[position]
                    for other in range(layout.n):
                        if bits >> other & 1:
                            members.setdefault(other, why)
    if isinstance(wish, ClearTasks):
        for position in layout.scopes_of(set(members)):
            members.setdefault(position, int(ClearReason.CLEAR_REASON_SETUP_TEARDOWN))
    wanted = set(wish.map_indexes)
    for position in sorted(members):
        for slot in run.slots_of(position):
            if not (wanted and position in named) or run.map_index(slot) in wanted:
                yield slot, members[position]


# -- clearing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """What a clear does: instances by run with their reason, and the version that these runs take (None: their own)."""

    chosen: list[tuple[Run, dict[int, int]]]
    latest: Layout | None

    def takes(self, run: Run) -> Layout | None:
        """The version that a run takes, if that is another one."""
        latest = self.latest
        return latest if latest is not None and latest.version not in (run.version, run.rebind) else None


def choose_to_clear(state: PartitionState, dag: DagState, wish: ClearTasks) -> Choice:
    """Changes nothing. Raises Rejected, also when there is nothing to clear."""

    def keep(run: Run, slot: int) -> bool:
        now = run.states[slot]
        if wish.only_failed or wish.only_running:
            return (wish.only_failed and now in (FAILED, UPSTREAM_FAILED)) or (wish.only_running and bool(OPEN[now]))
        return now != NONE

    chosen = choose(state, dag, wish, keep)
    if not chosen:
        raise Rejected(
            "NOTHING_TO_CLEAR",
            f"no task instance of run {wish.run_id} of {dag.dag_id} is in a state that this would clear: "
            "widen the choice",
        )
    return Choice(chosen, _latest(state, dag) if wish.latest_version else None)


def tell(choice: Choice, most: int) -> ClearPlan:
    """Returns what a clear does, before it does it; lists the first `most` tasks."""
    plan = ClearPlan(run_count=len(choice.chosen), version=choice.latest.version if choice.latest is not None else "")
    for run, slots in choice.chosen:
        for told, killed in _effects(run, slots, choice.takes(run)):
            plan.task_count += told.effect in (ClearEffect.CLEAR_EFFECT_RERUN, ClearEffect.CLEAR_EFFECT_KILL)
            plan.killed_count += killed
            plan.removed_count += told.effect == ClearEffect.CLEAR_EFFECT_REMOVED
            plan.added_count += told.effect == ClearEffect.CLEAR_EFFECT_ADDED
            if len(plan.tasks) < most:
                plan.tasks.append(told)
    return plan


def _effects(run: Run, slots: dict[int, int], other: Layout | None) -> Iterator[tuple[ClearedTask, bool]]:
    """What becomes of each instance that something becomes of, and whether a try of it is killed."""
    for slot in run.live_slots():
        starts_again, removed = slot in slots, False
        if other is not None:
            fate = _fate(run, slot, other)
            removed = fate == REMOVED
            starts_again |= fate == NONE or _in_the_way(run, slot)
        if not starts_again and not removed:
            continue
        now = run.states[slot]
        killed = starts_again and bool(HOLDING[now] or now == DEFERRED)
        told = ClearedTask(
            run_id=run.run_id,
            task_id=run.layout.task_ids[run.position(slot)],
            map_index=run.map_index(slot),
            state=now,  # type: ignore[arg-type]
            effect=ClearEffect.CLEAR_EFFECT_KILL if killed else ClearEffect.CLEAR_EFFECT_RERUN,
            reason=slots.get(slot, ClearReason.CLEAR_REASON_VERSION),  # type: ignore[arg-type]
        )
        if removed:
            told.effect, told.reason = ClearEffect.CLEAR_EFFECT_REMOVED, ClearReason.CLEAR_REASON_VERSION
        yield told, killed
    for task_id in other.task_ids if other is not None else ():
        if task_id not in run.layout.index:
            told = ClearedTask(run_id=run.run_id, task_id=task_id, map_index=-1)
            told.effect, told.reason = ClearEffect.CLEAR_EFFECT_ADDED, ClearReason.CLEAR_REASON_VERSION
            yield told, False


def clear(d: Decision, dag: DagState, command: Command) -> ClearPlan:
    """Clears what is chosen; returns what it did. Raises Rejected."""
    wish: ClearTasks = command.clear_tasks
    choice = choose_to_clear(d.state, dag, wish)
    plan = tell(choice, _TOLD_TASKS)
    conf = wish.task_conf if wish.HasField("task_conf") else None
    for run, slots in choice.chosen:
        if wish.HasField("conf"):
            d.emit(dag.dag_id, run.run_id, lambda event: event.run_conf_changed.conf.CopyFrom(wish.conf))
        for slot in slots:
            _clear_one(d, dag, run, slot, command.actor, conf)
        run = dag.runs.get(run.run_id, run)
        other = choice.takes(run)
        if other is not None:
            take_version(d, dag, run, other, command.actor)
        live = dag.runs.get(run.run_id)
        if live is not None and live.state in (RUN_SUCCESS, RUN_FAILED):
            set_run_state(d, dag, live, RUN_QUEUED)
    return plan


def kill(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Ends tries in progress as failed, without a retry; returns the run and their number. Raises Rejected."""
    wish: KillTasks = command.kill_tasks

    def keep(run: Run, slot: int) -> bool:
        state = run.states[slot]
        return bool(OPEN[state]) or state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE) or slot in run.resumes

    chosen = choose(d.state, dag, wish, keep)
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


def _latest(state: PartitionState, dag: DagState) -> Layout:
    layout = current_layout(state, dag)
    if layout.definition.dynamic:
        raise Rejected(
            "INVALID_STATE",
            f"{dag.dag_id} computes its layout once a run: clear without the latest version, or trigger a new run",
        )
    return layout


def _clear_one(d: Decision, dag: DagState, run: Run, slot: int, actor: Actor, conf: Blob | None = None) -> None:
    # Evolving may have brought the run back: work on the live one.
    run = dag.runs.get(run.run_id, run)
    state = run.states[slot]
    if state == RESTARTING:
        return
    if HOLDING[state]:
        cancel(d, dag, run, slot, int(Outcome.OUTCOME_KILLED_BY_USER), "cleared while it ran", RESTARTING, conf)
        return
    if state in (DEFERRED, UP_FOR_RESCHEDULE) or slot in run.resumes:
        # It has no worker to wait for, and a slot that it would hold until then may not be free.
        end_try(d, dag, run, slot, FAILED, "cleared while it waited")
    else:
        withdraw(d, run, slot)
    clear_event(d, run, slot, conf, actor)


# -- another version ---------------------------------------------------------------------------------------------


def _in_the_way(run: Run, slot: int) -> bool:
    """Whether an instance must start again before its run can take another version."""
    state = run.states[slot]
    return bool(OPEN[state]) or state in (UP_FOR_RESCHEDULE, SCHEDULED) or slot in run.resumes


def _fate(run: Run, slot: int, layout: Layout) -> int:
    """What becomes of an instance under another version: REMOVED, NONE (it starts again), or -1: it stays."""
    position = run.position(slot)
    target = layout.index.get(run.layout.task_ids[position])
    if target is None:
        return REMOVED
    if (position in run.layout.lengths) != (target in layout.lengths) and run.states[slot] != NONE:
        # Its instances are others now.
        return NONE
    return -1


def take_version(d: Decision, dag: DagState, run: Run, layout: Layout, actor: Actor) -> None:
    """Moves a run to another version: at once, or when its tries in progress have been killed."""
    for slot in run.live_slots():
        if _in_the_way(run, slot):
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
        fate = _fate(run, slot, layout)
        if fate == REMOVED:
            d.task_state(run, slot, REMOVED, reason=f"version {layout.version} has no such task")
        elif fate == NONE:
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
