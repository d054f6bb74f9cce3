"""Events of runs: creation, state, version, conf, backfill, deadlines.

A run is laid out by one version of its DAG. When it takes another, what is known of tasks that both versions have moves
to their new places, and everything derived is counted anew.
"""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.events.v1 import events_pb2 as ev

from spinner_scheduler.domain import times
from spinner_scheduler.domain.finished_runs import find_run, put_away
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import NONE, RUN_QUEUED, RUN_RUNNING


class MissingDefinitionError(Exception):
    """An event names a version whose definition can't be found: the log of definitions is incomplete."""


def run_created(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.run_created
    layout = state.layouts.get(dag_id, e.version)
    if layout is None:
        raise MissingDefinitionError(f"{dag_id}@{e.version}, needed by run {run_id}, is not in workflow_definitions")
    facts = ev.RunCreated()
    facts.CopyFrom(e)
    state.add_run(state.dag(dag_id), Run(dag_id, run_id, layout, facts))


def run_state_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = find_run(state, dag_id, run_id)
    e = event.run_state_changed
    state.count_run(dag, run, -1)
    if run.state != e.state or not run.state_time:
        run.state_time = state.event_time
    run.state = e.state
    run.reason = e.reason
    state.count_run(dag, run, 1)
    if e.state == RUN_QUEUED:
        run.start = run.end = 0
    elif e.state == RUN_RUNNING:
        run.start = times.from_timestamp(e.start_time)
        run.end = 0
        run.dirty.extend(run.undecided())
        run.dirty.extend(position for position in run.instances if run.states[position] != NONE)
        state.dirty_runs[id(run)] = run
        state.arm_run(run)
    else:
        run.end = times.from_timestamp(e.end_time)
        run.ends += 1
        if not run.unfinished:
            put_away(state, dag, run)


def run_version_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = find_run(state, dag_id, run_id)
    e = event.run_version_changed
    layout = state.layouts.get(dag_id, e.version)
    if layout is None:
        raise MissingDefinitionError(f"{dag_id}@{e.version}, needed by run {run_id}, is not in workflow_definitions")
    state.drop_run(dag, run)
    run.awaiting_layout = False
    run.rebind = ""
    _bind_again(run, layout)
    state.add_run(dag, run)


def run_version_planned(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = find_run(state, dag_id, run_id)
    run.rebind = event.run_version_planned.version


def _bind_again(run: Run, layout: Layout) -> None:
    old = Run(run.dag_id, run.run_id, run.layout, run.facts)
    for name in Run.__slots__:
        setattr(old, name, getattr(run, name))
    run.bind(layout)
    place = {deadline.name: index for index, deadline in enumerate(layout.definition.deadlines)}
    moved = {
        index: place[deadline.name]
        for index, deadline in enumerate(old.layout.definition.deadlines)
        if index in old.deadlines and deadline.name in place
    }
    run.deadlines = {moved[index]: due for index, due in old.deadlines.items() if index in moved}
    run.deadline_states = {moved[index]: held for index, held in old.deadline_states.items() if index in moved}
    _carry_over(old, run)
    run.recount()


def _carry_over(old: Run, new: Run) -> None:
    """Moves what is known of tasks that both layouts have; tries in progress were ended before."""
    pairs: list[tuple[int, int]] = []
    # All expansions first: where an instance is counted depends on whether the tasks below it are expanded.
    for position, task_id in enumerate(old.layout.task_ids):
        target = new.layout.index.get(task_id)
        if target is None:
            continue
        if position in old.instances and target in new.layout.lengths:
            new.expand(target, len(old.instances[position]))
            pairs.extend(zip(old.instances[position], new.instances[target], strict=True))
        elif position not in old.instances:
            pairs.append((position, target))
    for before, after in pairs:
        new.tries[after] = old.tries[before]
        new.since[after] = old.since[before]
        for table in ("base", "confs", "free", "lengths", "next_time"):
            if before in getattr(old, table):
                getattr(new, table)[after] = getattr(old, table)[before]
        new.set_state(after, old.states[before])


def run_backfill_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = find_run(state, dag_id, run_id)
    state.drop_run(dag, run)
    run.facts.backfill.CopyFrom(event.run_backfill_changed.backfill)
    run.facts.run_type = RunType.RUN_TYPE_BACKFILL
    run.order_facts = None
    # Which upstream tasks count may be others now.
    _bind_again(run, run.layout)
    state.add_run(dag, run)


def run_conf_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = find_run(state, dag_id, run_id)
    run.facts.conf.CopyFrom(event.run_conf_changed.conf)
    run.order_facts = None


def deadline_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = find_run(state, dag_id, run_id)
    e = event.deadline_changed
    run.deadlines[e.index] = times.from_timestamp(e.deadline_time)
    run.deadline_states[e.index] = e.state
    if e.state == ev.DEADLINE_STATE_PENDING:
        state.arm_deadline(run, e.index)
