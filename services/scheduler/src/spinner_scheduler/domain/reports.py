"""What executors say of tries. A report of another try, segment or an earlier moment is stale and changes nothing."""

from __future__ import annotations

import zlib

from spinner_proto.common.v1.common_pb2 import Actor, Blob, Outcome
from spinner_proto.definitions.v1.definitions_pb2 import RetryAction, RetryRule, TaskDefinition
from spinner_proto.events.v1.events_pb2 import TaskEnded, TaskStateChanged, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded as ReportedEnd
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1.orders_pb2 import DesiredState

from spinner_scheduler.domain import assets, callbacks, times, watchers
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import execution_record, task_order
from spinner_scheduler.domain.run import LAYOUT_TASK, Run, is_callback
from spinner_scheduler.domain.runs import LAYOUT_TRIES, end_run, end_try, order_layout, stop_tasks, withdraw
from spinner_scheduler.domain.states import (
    DEFERRED,
    FAILED,
    NONE,
    OPEN,
    QUEUED,
    RESTARTING,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_RUNNING,
    RUNNING,
    SCHEDULED,
    SKIPPED,
    SUCCESS,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    free_retry_delay,
)

_DEFAULT_RETRY_DELAY = 300 * times.SECOND
_DAY = 86_400 * times.SECOND


def handle(d: Decision, report: TaskReport) -> None:
    """Takes a report."""
    key = report.try_key
    kind = report.WhichOneof("kind")
    dag = d.state.dags.get(key.dag_id)
    run = dag.runs.get(key.run_id) if dag is not None else None
    if is_callback(key.task_id):
        callbacks.handle(d, report)
        return
    if watchers.is_watcher(key.task_id):
        watchers.reported(d, report)
        return
    if dag is None or run is None:
        # Of a run that has ended: its executor may have missed the tombstone, or a layout came after a mark.
        if kind in ("ended", "layout_computed"):
            d.tombstone(key)
        return
    if key.task_id == LAYOUT_TASK:
        _layout(d, dag, run, report)
        return
    slot = run.slot(key.task_id, key.map_index)
    if slot < 0 or key.try_number != run.tries[slot] or not OPEN[run.states[slot]]:
        current = slot >= 0 and key.try_number == run.tries[slot]
        if kind == "ended" and not (current and run.states[slot] in (SCHEDULED, UP_FOR_RESCHEDULE)):
            d.tombstone(key)
        return
    if report.segment != run.segments[slot]:
        return
    if kind == "ended":
        _ended(d, dag, run, slot, report)
        return
    if slot in run.cancelled and kind in ("deferred", "rescheduled"):
        # Its worker ended the segment before it could be killed: nothing is left that would report an end.
        killed = TaskReport()
        killed.CopyFrom(report)
        killed.ended.outcome = Outcome.OUTCOME_KILLED_BY_USER
        killed.ended.return_length = -1
        _ended(d, dag, run, slot, killed)
        return
    if report.sequence and report.sequence <= run.sequences.get(slot, 0):
        return
    if kind == "started":
        _started(d, run, slot, report)
    elif kind in ("launched", "pending"):
        if run.states[slot] == QUEUED:
            reason = report.pending.reason if kind == "pending" else ""
            _note(d, run, slot, QUEUED, report, reason)
    elif kind == "deferred":
        _deferred(d, dag, run, slot, report)
    elif kind == "rescheduled":
        _rescheduled(d, dag, run, slot, report)
    elif kind == "trigger_fired":
        _fired(d, run, slot, report.trigger_fired.payload_json, report.trigger_fired.error)


def _note(d: Decision, run: Run, slot: int, new: int, report: TaskReport, reason: str = "") -> None:
    def fill(changed: TaskStateChanged) -> None:
        changed.sequence = report.sequence
        changed.executor = report.executor
        changed.worker = report.worker
        if new == RUNNING:
            changed.start_time.CopyFrom(report.time if report.HasField("time") else d.time)

    d.task_state(run, slot, new, try_number=run.tries[slot], segment=run.segments[slot], reason=reason, fill=fill)


def _started(d: Decision, run: Run, slot: int, report: TaskReport) -> None:
    if run.states[slot] == QUEUED:
        _note(d, run, slot, RUNNING, report)


def _deferred(d: Decision, dag: DagState, run: Run, slot: int, report: TaskReport) -> None:
    if run.states[slot] not in (QUEUED, RUNNING):
        return
    segment = run.segments[slot] + 1

    def fill(changed: TaskStateChanged) -> None:
        changed.deferral.CopyFrom(report.deferred)
        human = changed.deferral.human
        if human.HasField("timeout"):
            human.deadline.CopyFrom(times.to_timestamp(d.now + times.from_duration(human.timeout)))
        changed.executor = report.executor
        changed.worker = report.worker

    d.task_state(run, slot, DEFERRED, try_number=run.tries[slot], segment=segment, fill=fill)
    if not report.deferred.HasField("human"):
        desired = int(DesiredState.DESIRED_STATE_DEFERRED)
        d.order(task_order(d.state, dag, run, slot, run.tries[slot], segment, desired))
    if not d.state.foreign_deferred.get(run.pools[run.position(slot)], False):
        withdraw(d, run, slot)


def _rescheduled(d: Decision, dag: DagState, run: Run, slot: int, report: TaskReport) -> None:
    if run.states[slot] not in (QUEUED, RUNNING):
        return
    at = times.from_timestamp(report.rescheduled.next_time) or d.now
    d.task_state(run, slot, UP_FOR_RESCHEDULE, try_number=run.tries[slot], segment=run.segments[slot], next_time=at)
    withdraw(d, run, slot)


def _fired(d: Decision, run: Run, slot: int, payload: bytes, error: str) -> None:
    if run.states[slot] == DEFERRED and slot not in run.cancelled:
        resume(d, run, slot, payload, error)


def resume(d: Decision, run: Run, slot: int, payload: bytes = b"", error: str = "", actor: Actor | None = None) -> None:
    """Queues the next segment of a try."""

    def fill(changed: TaskStateChanged) -> None:
        changed.resume_event_json = payload
        changed.resume_error = error

    d.task_state(
        run, slot, SCHEDULED, try_number=run.tries[slot], segment=run.segments[slot] + 1, fill=fill, actor=actor
    )


# -- ends --------------------------------------------------------------------------------------------------------


def _ended(d: Decision, dag: DagState, run: Run, slot: int, report: TaskReport) -> None:
    said = report.ended
    outcome = int(said.outcome)
    before = run.states[slot]
    message = said.message
    if slot in run.cancelled and outcome == Outcome.OUTCOME_KILLED_BY_USER:
        outcome = run.cancelled[slot]
        if outcome == Outcome.OUTCOME_TIMED_OUT:
            message = message or "it ran past its execution_timeout and its executor did not end it"
    # A run that was stopped meanwhile has no use for a next try.
    restarting = before == RESTARTING and run.state in (RUN_QUEUED, RUN_RUNNING)
    started = said.HasField("start_time") or slot in run.first_start
    new, next_time, free, why = _what_it_becomes(d, run, slot, report, outcome, started)
    if restarting and new == UP_FOR_RETRY:
        new, next_time, free = FAILED, 0, False
    if why:
        message = f"{message} ({why})" if message else why
    ended = TaskEnded(
        task_id=report.try_key.task_id,
        map_index=report.try_key.map_index,
        try_number=report.try_key.try_number,
        state=new,  # type: ignore[arg-type]
        outcome=outcome,  # type: ignore[arg-type]
        return_length=said.return_length,
        worker=report.worker,
    )
    _copy_facts(said, ended)
    if message:
        ended.message = message
    first = run.first_start.get(slot) or times.from_timestamp(said.start_time)
    end = times.from_timestamp(said.end_time) or d.now
    if first:
        ended.start_time.CopyFrom(times.to_timestamp(first))
        ended.duration.CopyFrom(times.to_duration(max(0, end - first)))
    ended.end_time.CopyFrom(times.to_timestamp(end))
    if next_time:
        ended.next_time.CopyFrom(times.to_timestamp(next_time))
        ended.free_try = free
    d.tombstone(report.try_key)
    d.result.executions.append(execution_record(run, slot, ended))
    withdraw(d, run, slot)
    if new == SUCCESS and said.skip_task_ids:
        _decide_skips(d, run, slot, list(said.skip_task_ids))
    if new == SUCCESS and (run.layout.has_outlets or said.asset_events):
        ended.asset_events.extend(assets.published_by(d, run, slot, list(said.asset_events)))
    d.task_ended(run, ended)
    if not restarting:
        callbacks.of_try(d, dag, run, slot, ended)
    if restarting:
        clear_event(d, run, slot, run.confs.get(slot))
    elif new == SUCCESS and slot in run.skips:
        _apply_skips(d, dag, run, slot)
    elif new == FAILED and run.layout.tasks[run.position(slot)].fail_stop and run.state == RUN_RUNNING:
        stop_tasks(d, dag, run, f"{ended.task_id} failed and stops the run (fail_stop)", keep_teardowns=True)


def _copy_facts(said: ReportedEnd, ended: TaskEnded) -> None:
    """Copies what the worker said that needs no thought. Most ends say little, and copying nothing costs too."""
    for name in ("exit_code", "log_key", "log_bytes", "application_id", "jss_id"):
        value = getattr(said, name)
        if value:
            setattr(ended, name, value)
    if said.stages:
        ended.stages.extend(said.stages)
    if said.builds:
        ended.builds.update(said.builds)
    if said.exception_classes:
        ended.exception_classes.extend(said.exception_classes)
    if said.HasField("usage"):
        ended.usage.CopyFrom(said.usage)
    if said.HasField("rendered"):
        ended.rendered.CopyFrom(said.rendered)


def _what_it_becomes(
    d: Decision, run: Run, slot: int, report: TaskReport, outcome: int, started: bool
) -> tuple[int, int, bool, str]:
    """Returns the state after an end; of a retry when it is due and whether it is free; why, if a rule decided."""
    if outcome == Outcome.OUTCOME_SUCCESS:
        return SUCCESS, 0, False, ""
    if outcome == Outcome.OUTCOME_SKIPPED:
        return SKIPPED, 0, False, ""
    if run.state != RUN_RUNNING or outcome in (Outcome.OUTCOME_FAILED_NO_RETRY, Outcome.OUTCOME_KILLED_BY_USER):
        return FAILED, 0, False, ""
    seconds = free_retry_delay(outcome, started, run.free.get(slot, 0))
    if seconds is not None:
        return UP_FOR_RETRY, d.now + seconds * times.SECOND, True, ""
    task = run.layout.tasks[run.position(slot)]
    rule = retry_rule(task, report.ended)
    retries, delay, why = task.retries, 0, ""
    if rule is not None:
        why = rule.reason or f"a rule of its retry policy for {', '.join(rule.exceptions)}"
        if rule.action == RetryAction.RETRY_ACTION_FAIL:
            return FAILED, 0, False, f"not tried again: {why}"
        retries = rule.retries if rule.HasField("retries") else retries
        delay = times.from_duration(rule.delay)
    attempts = run.attempts(slot)
    if attempts > retries:
        return FAILED, 0, False, ""
    asked = times.from_timestamp(report.ended.retry_time)
    return UP_FOR_RETRY, asked or d.now + (delay or retry_delay(run, slot, attempts)), False, why


def retry_rule(task: TaskDefinition, said: ReportedEnd) -> RetryRule | None:
    """Returns the first rule of a task's retry policy that names the exception's class or one of its bases."""
    if not task.retry_rules or not said.exception_classes:
        return None
    own = _with_short_names({said.exception_classes[0]})
    names = own | _with_short_names(set(said.exception_bases))
    return next(
        (rule for rule in task.retry_rules if not (own if rule.exact else names).isdisjoint(rule.exceptions)), None
    )


def _with_short_names(names: set[str]) -> set[str]:
    return names | {name.rpartition(".")[2] for name in names}


def retry_delay(run: Run, slot: int, attempts: int) -> int:
    """Returns how long after its end a try is repeated, in µs.

    With exponential back-off Airflow's formula: delay · factor^(attempts-1), plus up to as much again from a hash
    of the try (so that tasks that failed together don't come back together), at most max_retry_delay. Without, up to
    retry_jitter of the delay is added by the same hash.
    """
    task = run.layout.tasks[run.position(slot)]
    delay = times.from_duration(task.retry_delay) if task.HasField("retry_delay") else _DEFAULT_RETRY_DELAY
    spread = int(delay * task.retry_jitter)
    if task.retry_exponential_backoff:
        factor = task.retry_backoff_factor or 2.0
        spread = delay = int(min(delay * factor ** (attempts - 1), _DAY))
    if spread:
        name = f"{run.dag_id}#{task.task_id}#{run.logical}#{run.map_index(slot)}#{attempts}"
        delay = min(delay + zlib.crc32(name.encode()) % spread, _DAY)
    if task.HasField("max_retry_delay"):
        delay = min(delay, times.from_duration(task.max_retry_delay))
    return delay


def _decide_skips(d: Decision, run: Run, slot: int, task_ids: list[str]) -> None:
    known = [task_id for task_id in task_ids if task_id in run.layout.index]

    def fill(event: WorkflowEvent) -> None:
        decided = event.task_skip_decided
        decided.by_task_id = run.layout.task_ids[run.position(slot)]
        decided.by_map_index = run.map_index(slot)
        decided.task_ids.extend(known)

    d.emit(run.dag_id, run.run_id, fill)


def _apply_skips(d: Decision, dag: DagState, run: Run, slot: int) -> None:
    """Skips what a branch decided against, at once and whatever else is above it."""
    layout = run.layout
    group = layout.mapped_group[run.position(slot)]
    for position in run.skips[slot]:
        slots = run.slots_of(position)
        if slot >= layout.n and group and layout.mapped_group[position] == group and position in run.instances:
            slots = [run.instances[position][run.map_index(slot)]]
        reason = f"{layout.task_ids[run.position(slot)]} decided so"
        for target in slots:
            if target in run.resumes:
                # Between two segments of a try: that try ends here.
                end_try(d, dag, run, target, SKIPPED, reason)
            elif run.states[target] in (NONE, SCHEDULED):
                withdraw(d, run, target)
                d.task_state(run, target, SKIPPED, reason=reason)


def clear_event(d: Decision, run: Run, slot: int, conf: Blob | None = None, actor: Actor | None = None) -> None:
    """Records that an instance starts again from nothing; `conf` is what it sees instead of the run's."""

    def fill(event: WorkflowEvent) -> None:
        event.task_cleared.task_id = run.layout.task_ids[run.position(slot)]
        event.task_cleared.map_index = run.map_index(slot)
        if conf is not None:
            event.task_cleared.conf.CopyFrom(conf)
        if actor is not None:
            event.task_cleared.actor.CopyFrom(actor)

    d.emit(run.dag_id, run.run_id, fill)


# -- layouts -----------------------------------------------------------------------------------------------------


def _layout(d: Decision, dag: DagState, run: Run, report: TaskReport) -> None:
    kind = report.WhichOneof("kind")
    number = report.try_key.try_number
    if number != run.layout_try or not run.awaiting_layout or run.state != RUN_RUNNING:
        if kind in ("ended", "layout_computed"):
            d.tombstone(report.try_key)
        return
    if kind == "layout_computed":
        version = report.layout_computed.version
        layout = d.state.layouts.get(dag.dag_id, version)
        if layout is None:
            _layout_failed(d, dag, run, report, f"its layout {version} is not in workflow_definitions")
            return
        d.tombstone(report.try_key)
        count = layout.n

        def end(event: WorkflowEvent) -> None:
            event.task_ended.task_id = LAYOUT_TASK
            event.task_ended.map_index = -1
            event.task_ended.try_number = number
            event.task_ended.state = SUCCESS  # type: ignore[assignment]
            event.task_ended.outcome = Outcome.OUTCOME_SUCCESS
            event.task_ended.worker = report.worker
            event.task_ended.end_time.CopyFrom(d.time)

        def fill(event: WorkflowEvent) -> None:
            event.run_version_changed.version = version
            event.run_version_changed.task_count = count

        d.emit(run.dag_id, run.run_id, end)
        d.emit(run.dag_id, run.run_id, fill)
    elif kind == "ended" and report.ended.outcome != Outcome.OUTCOME_SUCCESS:
        _layout_failed(d, dag, run, report, report.ended.message)


def _layout_failed(d: Decision, dag: DagState, run: Run, report: TaskReport, why: str) -> None:
    d.tombstone(report.try_key)

    def fill(event: WorkflowEvent) -> None:
        event.task_ended.task_id = LAYOUT_TASK
        event.task_ended.map_index = -1
        event.task_ended.try_number = report.try_key.try_number
        event.task_ended.state = FAILED  # type: ignore[assignment]
        event.task_ended.outcome = report.ended.outcome
        event.task_ended.message = why
        event.task_ended.log_key = report.ended.log_key
        event.task_ended.end_time.CopyFrom(d.time)

    d.emit(run.dag_id, run.run_id, fill)
    if report.try_key.try_number < LAYOUT_TRIES:
        order_layout(d, dag, run)
        return
    stop_tasks(d, dag, run, "its layout could not be computed")
    end_run(d, dag, run, RUN_FAILED, f"compute_layout failed: {why}")
