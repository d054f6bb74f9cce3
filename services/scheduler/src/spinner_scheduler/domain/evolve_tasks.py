"""Events of task instances: a state and what belongs to it, an end, an expansion, a clear, skipped branches.

A task instance is a slot of its run's arrays; what only concerns a try in progress is dropped when the try is over.
Every change of a state goes through one place, which keeps what is derived from it.
"""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Blob, RunType
from spinner_proto.events.v1 import events_pb2 as ev

from spinner_scheduler.domain import times
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.finished_runs import find_run
from spinner_scheduler.domain.run import LAYOUT_TASK, Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import (
    DEFERRED,
    FINISHED,
    NONE,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    SUCCESS,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    free_retry_delay,
)


def task_state_changed(state: PartitionState, dag: DagState, run: Run, e: ev.TaskStateChanged) -> None:
    if e.task_id == LAYOUT_TASK:
        run.layout_try = e.try_number
        return
    slot = run.slot(e.task_id, e.map_index)
    new = e.state
    if new == QUEUED:
        run.tries[slot] = e.try_number
        run.segments[slot] = e.segment
        if run.states[slot] != QUEUED:
            run.resumes.pop(slot, None)
            run.deferrals.pop(slot, None)
            if e.segment == 0:
                run.first_start.pop(slot, None)
            run.sequences.pop(slot, None)
        if e.reason and not e.cancelled_as:
            run.pending[slot] = e.reason
        else:
            run.pending.pop(slot, None)
    elif new == RUNNING:
        run.pending.pop(slot, None)
        if slot not in run.first_start:
            run.first_start[slot] = times.from_timestamp(e.start_time) or state.now
    elif new == DEFERRED:
        run.segments[slot] = e.segment
        if not e.cancelled_as:
            run.deferrals[slot] = e.deferral
            run.sequences.pop(slot, None)
    elif new == SCHEDULED:
        if e.segment:
            run.segments[slot] = e.segment
            run.resumes[slot] = (e.resume_event_json, e.resume_error)
        run.next_time.pop(slot, None)
    elif new in (UP_FOR_RETRY, UP_FOR_RESCHEDULE):
        run.next_time[slot] = times.from_timestamp(e.next_time)
        run.sequences.pop(slot, None)
    elif new == RESTARTING:
        _keep_conf(run, slot, e)
    elif FINISHED[new]:
        _forget(run, slot)
    if e.sequence:
        run.sequences[slot] = e.sequence
    if e.cancelled_as:
        run.cancelled[slot] = e.cancelled_as
    _set(state, dag, run, slot, new)


def _keep_conf(run: Run, slot: int, e: ev.TaskCleared | ev.TaskStateChanged) -> None:
    run.confs.pop(slot, None)
    if e.HasField("conf"):
        run.confs[slot] = Blob()
        run.confs[slot].CopyFrom(e.conf)


def _set(state: PartitionState, dag: DagState, run: Run, slot: int, new: int) -> None:
    old = run.set_state(slot, new)
    if old == new:
        return
    run.since[slot] = state.event_seconds
    state.task_changed(dag, run, slot, old, new)
    if dag.looking_back and FINISHED[new]:
        _wake_next(state, dag, run, slot)


def _wake_next(state: PartitionState, dag: DagState, run: Run, slot: int) -> None:
    """Lets the next run look again at tasks that wait for this one."""
    position = run.position(slot)
    task_ids = [run.layout.task_ids[position], *(run.layout.task_ids[above] for above in run.layout.up[position])]
    for following in next_runs(dag, run):
        for task_id in task_ids:
            found = following.layout.index.get(task_id)
            if found is not None:
                following.dirty.extend(s for s in following.slots_of(found) if following.states[s] == NONE)
        if following.dirty:
            state.dirty_runs[id(following)] = following


def next_runs(dag: DagState, run: Run) -> list[Run]:
    """The live runs whose past this one may be: the next, and beyond those made by hand (see `blockers`)."""
    found: list[Run] = []
    for later in sorted((r for r in dag.runs.values() if r.logical > run.logical), key=lambda r: r.logical):
        found.append(later)
        if later.facts.run_type != RunType.RUN_TYPE_MANUAL:
            break
    return found


def _forget(run: Run, slot: int) -> None:
    """Drops what only concerns a try in progress."""
    for table in (
        run.next_time,
        run.sequences,
        run.first_start,
        run.deferrals,
        run.resumes,
        run.cancelled,
        run.pending,
    ):
        table.pop(slot, None)


def task_ended(state: PartitionState, dag: DagState, run: Run, e: ev.TaskEnded) -> None:
    if e.task_id == LAYOUT_TASK:
        run.layout_try = -e.try_number
        return
    slot = run.slot(e.task_id, e.map_index)
    run.tries[slot] = e.try_number
    _forget(run, slot)
    new = e.state
    if new == UP_FOR_RETRY:
        run.next_time[slot] = times.from_timestamp(e.next_time)
        free = run.free.get(slot, 0)
        # Events without the field are older than it.
        if e.free_try if e.HasField("free_try") else _was_free(e, free):
            run.free[slot] = free + 1
    elif new == SUCCESS and run.layout.reports_length[run.position(slot)]:
        run.lengths[slot] = e.return_length
    _set(state, dag, run, slot, new)


def _was_free(e: ev.TaskEnded, free: int) -> bool:
    return free < 3 and free_retry_delay(e.outcome, e.HasField("start_time"), free) is not None


def task_expanded(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = find_run(state, dag_id, run_id)
    run.expand(run.layout.index[event.task_expanded.task_id], event.task_expanded.length, state.event_seconds)
    state.dirty_runs[id(run)] = run


def task_cleared(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = find_run(state, dag_id, run_id)
    slot = run.slot(event.task_cleared.task_id, event.task_cleared.map_index)
    _forget(run, slot)
    run.base[slot] = run.tries[slot]
    run.free.pop(slot, None)
    _keep_conf(run, slot, event.task_cleared)
    run.lengths.pop(slot, None)
    run.segments[slot] = 0
    for position in run.skips.pop(slot, ()):
        run.skip_by[position].discard(slot)
    position = run.position(slot)
    if slot >= run.layout.n:
        run.remap.add(position)
    _set(state, dag, run, slot, NONE)
    run.dirty.append(slot)
    state.dirty_runs[id(run)] = run


def task_skip_decided(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = find_run(state, dag_id, run_id)
    e = event.task_skip_decided
    slot = run.slot(e.by_task_id, e.by_map_index)
    for position in run.skips.pop(slot, ()):
        run.skip_by[position].discard(slot)
    positions = [run.layout.index[task_id] for task_id in e.task_ids if task_id in run.layout.index]
    run.skips[slot] = positions
    for position in positions:
        run.skip_by.setdefault(position, set()).add(slot)
