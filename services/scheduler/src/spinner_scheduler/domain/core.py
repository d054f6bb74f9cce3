"""The scheduler as a pure function: `decide(state, inputs, now)` answers with all that has to be written.

A whole batch is decided at once. Everything in the answer belongs into one transaction; when that fails, the state
is thrown away, because it has evolved by what was never written. No I/O, no clock, no randomness, no user code.
"""

from __future__ import annotations

from collections.abc import Sequence

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import AssetMessage, DefinitionPublished, InboxMessage, TimetableEvaluated

from spinner_scheduler.domain import (
    asking,
    asset_uses,
    assets,
    backfills,
    clearing,
    commands,
    deadlines,
    decisions,
    reports,
    timetable_requests,
    watchers,
)
from spinner_scheduler.domain.decision import Decision, Result
from spinner_scheduler.domain.evolve import evolve_record
from spinner_scheduler.domain.runs import cancel, conclude, create_due, end_run, promote, stop_tasks, update_dag
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import RUN_FAILED, UP_FOR_RETRY
from spinner_scheduler.domain.tasks import dispatch, release_parked, settle
from spinner_scheduler.domain.timers import Kind, Timer

# Starts of runs in a decision that is full of runs that were due: so that starting never stands still.
_LEAST_STARTS = 2

__all__ = ["Result", "decide", "evolve_record"]


def decide(state: PartitionState, inputs: Sequence[InboxMessage], now: int) -> Result:
    """Decides on `inputs` in order and on timers due at `now` (µs); evolves `state` by the answer's events.

    Timers and starts of runs that would make one decision too large are left for the next: then the state is
    `unsettled`, or its next timer is due.
    """
    d = Decision(state, now)
    for message in inputs:
        _take(d, message)
    # Timers that the decision itself sets for now or earlier belong to it.
    for _ in range(1_000):
        _settle(d)
        if not _ring_due(d):
            break
    _update_dags(d)
    state.timers.compact(state.applies)
    return d.result


def _ring_due(d: Decision) -> bool:
    """Rings timers that are due while there is room; False when there was none to ring."""
    timers, state = d.state.timers, d.state
    rang = False
    while not d.full:
        timer = timers.pop_due(d.now)
        if timer is None:
            break
        rang = True
        if state.applies(timer):
            _ring(d, timer)
    return rang


def _take(d: Decision, message: InboxMessage) -> None:
    kind = message.WhichOneof("kind")
    if kind == "task_report":
        reports.handle(d, message.task_report)
    elif kind == "command":
        commands.handle(d, message.command)
    elif kind == "pool":
        asking.handle(d, message.pool)
    elif kind == "definition_published":
        _published(d, message)
    elif kind == "timetable_evaluated":
        _evaluated(d, message.timetable_evaluated)
    elif kind == "definition_removed":
        _removed(d, message.definition_removed.dag_id)
    elif kind == "asset_updated":
        assets.updated(d, message.asset_updated)
    elif kind == "asset":
        _asset(d, message.asset)
    else:
        d.result.refused.append((message, "the inbox message is of no kind that this scheduler knows"))


def _asset(d: Decision, message: AssetMessage) -> None:
    kind = message.WhichOneof("kind")
    if kind == "used":
        watchers.used(d, message.name, message.used)
    elif kind == "unused":
        watchers.unused(d, message.name, message.unused)
    elif kind == "stale":
        watchers.call_back(d, message.name, message.stale)
    else:
        assets.handle(d, message)


def _published(d: Decision, message: InboxMessage) -> None:
    published: DefinitionPublished = message.definition_published
    layout = d.state.layouts.get(published.dag_id, published.version)
    if layout is None:
        d.result.refused.append(
            (message, f"{published.dag_id}@{published.version} is not in workflow_definitions: the old version stays")
        )
        return
    dag = d.state.dag(published.dag_id)
    new = not dag.version
    if dag.version == published.version and not dag.removed:
        return
    awaited = assets.wanted_by(d, dag)
    paused = layout.definition.paused_upon_creation if new else None
    why = "it was paused when it was created (is_paused_upon_creation)"
    update_dag(d, dag, version=published.version, paused=paused, paused_reason=why)
    d.dag_changed(dag)  # it may have room for more runs now
    assets.subscribe(d, dag, awaited, assets.wanted_by(d, dag))
    assets.changed(d, dag, layout)
    commands.release_needless(d, dag, layout)


def _removed(d: Decision, dag_id: str) -> None:
    dag = d.state.dags.get(dag_id)
    if dag is None or dag.removed:
        return
    awaited, uses = assets.wanted_by(d, dag), asset_uses.wanted_by(d.state, dag)
    asked = dag.updated.HasField("timetable_request") or bool(dag.held)
    d.emit(dag_id, "", lambda event: event.dag_removed.SetInParent())
    asset_uses.tell(d, dag, uses)
    if asked:
        commands.release(d, dag)
        d.result.timetables[dag_id] = None
    assets.subscribe(d, dag, awaited, set())


def _evaluated(d: Decision, message: TimetableEvaluated) -> None:
    dag = d.state.dags.get(message.dag_id)
    if dag is None or dag.removed:
        return
    evaluated = TimetableEvaluated()
    evaluated.CopyFrom(message)
    del evaluated.answers[:]
    if dag.evaluated != evaluated and timetable_requests.counts(dag.updated, evaluated):
        d.emit(dag.dag_id, "", lambda event: event.timetable_evaluated.CopyFrom(evaluated))
        update_dag(d, dag, replan=True)
    if message.answers:
        commands.release(d, dag, {answer.request_id: answer for answer in message.answers})


def _settle(d: Decision) -> None:
    """Follows all consequences until nothing changes: tasks, slots, ends of runs, starts of runs."""
    while True:
        settle(d)
        dispatch(d)
        while release_parked(d):
            dispatch(d)
        d.settle_fresh()
        if d.state.dirty_runs:
            continue
        touched, d.touched = d.touched, {}
        for dag_id, run_id in touched:
            dag = d.state.dags.get(dag_id)
            run = dag.runs.get(run_id) if dag is not None else None
            if dag is not None and run is not None:
                if run.rebind:
                    clearing.finish(d, dag, run)
                if run.layout.definition.deadlines:
                    deadlines.follow(d, dag, run)
                conclude(d, dag, run)
        _promote(d)
        if not d.touched and not d.state.dirty_runs:
            break


def _promote(d: Decision) -> None:
    """Starts runs whose DAG has room, after all that are due were made: those come first when there are many."""
    state = d.state
    due = state.timers.next_due()
    more_due = 0 < due <= d.now
    # Tasks of runs started here: each will have an event of its own.
    to_come = 0
    for dag_id in list(state.promotable):
        full = d.events + to_come >= state.limits.decision_events
        if (full or more_due) and d.started >= _LEAST_STARTS:
            return
        dag = state.dags[dag_id]
        if dag.asleep:
            continue
        del state.promotable[dag_id]
        promote(d, dag)
        to_come += sum(len(run.dirty) for run in dag.runs.values())
        d.started += 1


def _update_dags(d: Decision) -> None:
    """Makes runs that a DAG has room for again, then records the DAGs whose facts changed."""
    for _ in range(100):
        before = len(d.result.records)
        transitions = d.result.transitions
        for dag_id in list(d.dags):
            create_due(d, d.state.dags[dag_id])
            backfills.advance(d, d.state.dags[dag_id])
        _settle(d)
        if transitions == d.result.transitions and before == len(d.result.records):
            break
    for dag_id in list(d.dags):
        dag = d.state.dags[dag_id]
        if dag.version and dag.updated.active_runs != dag.active + dag.queued:
            update_dag(d, dag, replan=not dag.updated.HasField("next_run_time"))


def _ring(d: Decision, timer: Timer) -> None:
    if timer.kind == Kind.FRESHNESS:
        watchers.went_stale(d, timer.run_id, timer.due)
        return
    dag = d.state.dags[timer.dag_id]
    if timer.kind == Kind.NEXT_RUN:
        create_due(d, dag)
        return
    run = dag.runs[timer.run_id]
    if timer.kind == Kind.RUN_TIMEOUT:
        if dag.paused:
            return
        stop_tasks(d, dag, run, "the run is past its dagrun_timeout")
        end_run(d, dag, run, RUN_FAILED, "timed out: it took longer than its dagrun_timeout")
    elif timer.kind == Kind.DEADLINE:
        deadlines.ring(d, dag, run, timer.slot)
    elif timer.kind == Kind.DEADLINE_RISK:
        d.touched[(dag.dag_id, run.run_id)] = None
    elif timer.kind == Kind.RETRY:
        if dag.paused or run.rebind:
            return
        if run.states[timer.slot] == UP_FOR_RETRY:
            d.want(run, timer.slot)
        else:
            reports.resume(d, run, timer.slot)
    elif timer.kind == Kind.EXECUTION_TIMEOUT:
        cancel(d, dag, run, timer.slot, int(Outcome.OUTCOME_TIMED_OUT), "it is past its execution_timeout")
    elif timer.kind == Kind.QUEUED_TIMEOUT:
        cancel(d, dag, run, timer.slot, int(Outcome.OUTCOME_NEVER_SCHEDULED), "no executor started it in time")
    elif timer.kind == Kind.TRIGGER_TIMEOUT and timer.slot not in run.cancelled:
        human = decisions.asked(run, timer.slot)
        if human is not None:
            decisions.time_out(d, run, timer.slot, human)
            return
        reports.resume(d, run, timer.slot, error="the trigger did not fire before its time-out")
