"""Event → row changes. Pure: what a record means for the views, without a database or a log.

Invariants that make a rebuild give the same rows, whatever the order in which topics are read:

- A table is fed by one topic, with two exceptions inside one partition (events of a run and of its DAG), whose
  order is fixed. What comes together from several topics is joined when it is read, never when it is written.
- A task instance without an event has no row: it is "none". So creating a run of 5,000 tasks writes one row, and
  a run need not wait for its definition. `instances` says how many there are.
- The counters of a run change with its task rows, in the same working set.

Two steps for each record: `needs` names the rows to load, `apply` changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import asset_rows, backfill_rows, decision_rows, words
from spinner_webgateway.domain.compression import compress
from spinner_webgateway.domain.rows import Key, Need, Row, WorkingSet
from spinner_webgateway.domain.words import clip

BEGUN = frozenset({"queued", "running", "deferred", "up_for_reschedule"})
"""States in which a try exists."""


_OF_RUNS = (
    "run_created",
    "run_state_changed",
    "run_version_changed",
    "run_conf_changed",
    "run_backfill_changed",
    "deadline_changed",
)


class Unreadable(ValueError):  # noqa: N818 - an answer
    """The record is well-formed protobuf but makes no sense, for example it has no key; says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record was read."""

    cell: str
    partition: int
    offset: int


def check_id(what: str, value: str) -> str:
    """Returns the id; raises Unreadable when it can't be a key."""
    if not 0 < len(value) <= 250 or not value.isascii():
        raise Unreadable(f"{what} {value[:60]!r} is not 1 to 250 ASCII characters")
    return value


def new_dag(dag_id: str) -> Row:
    return {
        "dag_id": dag_id,
        "version": "",
        "paused": False,
        "removed": False,
        "next_run_time": None,
        "next_logical_date": None,
        "no_next_run_reason": "",
        "active_runs": 0,
        "cluster": "",
        "tier": 0,
        "partition": 0,
        "last_run_id": "",
        "last_run_time": None,
        "last_run_state": "",
        "updated_time": 0,
    }


def new_run(dag_id: str, run_id: str, time: int) -> Row:
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "run_type": "manual",
        "state": "queued",
        "marked": False,
        "logical_date": None,
        "data_interval_start": None,
        "data_interval_end": None,
        "run_after": None,
        "order_time": time,
        "queued_time": time,
        "start_time": None,
        "end_time": None,
        "version": "",
        "actor": "",
        "note": "",
        "reason": "",
        "partition_key": "",
        "conf": b"",
        "conf_key": "",
        "awaiting_layout": False,
        "triggered_by": "",
        "layout_tasks": 0,
        "expansions": {},
        "counts": {},
        "backfill_id": "",
    }


def new_task(dag_id: str, run_id: str, task_id: str, map_index: int) -> Row:
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "state": "none",
        "marked": False,
        "try_number": 0,
        "failed_try": 0,
        "start_time": None,
        "end_time": None,
        "next_time": None,
        "reason": "",
        "executor": "",
        "worker": "",
        "application_id": "",
    }


def new_try(task: Row, try_number: int) -> Row:
    return {
        "dag_id": task["dag_id"],
        "run_id": task["run_id"],
        "task_id": task["task_id"],
        "map_index": task["map_index"],
        "try_number": try_number,
        "state": "queued",
        "outcome": "",
        "message": "",
        "exit_code": None,
        "queued_time": None,
        "start_time": None,
        "end_time": None,
        "stages": [],
        "peak_memory_bytes": None,
        "read_bytes": None,
        "written_bytes": None,
        "memory_request_bytes": None,
        "memory_limit_bytes": None,
        "memory_source": None,
        "cpu_seconds": None,
        "log_key": "",
        "log_bytes": 0,
        "executor": "",
        "worker": "",
        "application_id": "",
        "builds": {},
        "exception_classes": [],
        "rendered": b"",
        "rendered_key": "",
    }


CALLBACK = "__callback__"


def callback_key(dag_id: str, run_id: str, event: events_pb2.CallbackChanged) -> Key:
    """Returns the key of a callback's row among the tries: it is the key of its own try."""
    task_id = f"{CALLBACK}.{event.task_id}" if event.task_id else CALLBACK
    return dag_id, run_id, task_id, event.map_index, event.number


def instances(run: Mapping[str, Any]) -> int:
    """Returns how many task instances the run has, mapped ones counted by their expansion."""
    return int(run["layout_tasks"] + sum(max(1, length) - 1 for length in run["expansions"].values()))


def task_counts(run: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of task instances by state, "none" included, zeros left out."""
    counts = {state: count for state, count in run["counts"].items() if count > 0}
    present = sum(count for state, count in counts.items() if state != "removed")
    waiting = instances(run) - present
    return {"none": waiting, **counts} if waiting > 0 else counts


def needs(message: events_pb2.WorkflowEvents) -> Iterator[Need]:
    """Yields the rows that `apply` of this record reads."""
    dag_id, run_id = message.dag_id, message.run_id
    if dag_id:
        yield "dags", (dag_id,)
    if not run_id:
        yield from asset_rows.needs(message.events) if not dag_id else ()
        yield from backfill_rows.needs(dag_id, message.events)
        return
    yield "runs", (dag_id, run_id)
    for event in message.events:
        kind = event.WhichOneof("kind")
        if kind == "task_expanded":
            yield "tasks", (dag_id, run_id, event.task_expanded.task_id, -1)
        elif kind == "callback_changed":
            yield "tries", callback_key(dag_id, run_id, event.callback_changed)
        elif kind in ("task_state_changed", "task_ended", "task_cleared"):
            body = getattr(event, kind)
            yield "tasks", (dag_id, run_id, body.task_id, body.map_index)
            if kind == "task_state_changed":
                yield from decision_rows.needs(dag_id, run_id, body)
            if kind != "task_cleared" and body.try_number > 0:
                yield "tries", (dag_id, run_id, body.task_id, body.map_index, body.try_number)


def apply(rows: WorkingSet, message: events_pb2.WorkflowEvents, at: Position) -> None:
    """Applies one record of workflow_events to the loaded rows.

    Raises Unreadable before anything is changed. Events of a kind that this version doesn't know are kept in the
    run's history and change nothing else.
    """
    _check(message)
    step = _Step(rows, message.dag_id, message.run_id, words.micros(message.time) or 0)
    if message.run_id:
        rows.put(
            "run_events",
            {
                "dag_id": message.dag_id,
                "run_id": message.run_id,
                "cell": at.cell,
                "partition": at.partition,
                "offset": at.offset,
                "time": step.time,
                "event_count": len(message.events),
                "content": compress(message.SerializeToString(deterministic=True)),
            },
        )
    for event in message.events:
        kind = event.WhichOneof("kind")
        handler = _HANDLERS.get(kind or "")
        if handler is not None:
            handler(step, getattr(event, str(kind)))


def _check(message: events_pb2.WorkflowEvents) -> None:
    if message.run_id:
        check_id("run id", message.run_id)
    if message.dag_id:
        check_id("dag id", message.dag_id)
    elif message.run_id:
        raise Unreadable(f"events of run {message.run_id!r} name no DAG")
    for event in message.events:
        kind = event.WhichOneof("kind")
        if kind in ("task_state_changed", "task_ended", "task_cleared", "task_expanded"):
            check_id("task id", getattr(event, kind).task_id)
            if not message.run_id:
                raise Unreadable(f"{kind} outside a run")
        elif kind in ("command_accepted", "command_rejected"):
            check_id("request id", getattr(event, kind).request_id)
        elif kind in backfill_rows.KINDS:
            check_id("backfill id", backfill_rows.id_of(event))
        if kind in ("dag_updated", "dag_removed", *backfill_rows.KINDS) and not message.dag_id:
            raise Unreadable(f"{kind} names no DAG")
        if kind in _OF_RUNS and not message.run_id:
            raise Unreadable(f"{kind} names no run")


@dataclass(slots=True)
class _Step:
    """One record being applied."""

    rows: WorkingSet
    dag_id: str
    run_id: str
    time: int

    def dag(self) -> Row:
        return self.rows.edit("dags", (self.dag_id,)) or self.rows.put("dags", new_dag(self.dag_id))

    def run(self) -> Row:
        key = (self.dag_id, self.run_id)
        return self.rows.edit("runs", key) or self.rows.put("runs", new_run(*key, self.time))

    def task(self, task_id: str, map_index: int) -> Row:
        key = (self.dag_id, self.run_id, task_id, map_index)
        known = self.rows.edit("tasks", key)
        if known is not None:
            return known
        count(self.run(), "none", +1)
        return self.rows.put("tasks", new_task(*key))

    def attempt(self, task: Row, number: int) -> Row:
        key = (self.dag_id, self.run_id, task["task_id"], task["map_index"], number)
        return self.rows.edit("tries", key) or self.rows.put("tries", new_try(task, number))

    def move(self, task: Row, state: str) -> None:
        run = self.run()
        count(run, task["state"], -1)
        count(run, state, +1)
        task["state"] = state


def count(run: Row, state: str, change: int) -> None:
    """Adds to a run's counter; "none" isn't kept, it is what remains."""
    if state != "none":
        counts = run["counts"]
        counts[state] = counts.get(state, 0) + change


def _dag_updated(step: _Step, event: events_pb2.DagUpdated) -> None:
    dag = step.dag()
    dag["version"] = event.version
    dag["paused"] = event.paused
    dag["removed"] = False
    dag["next_run_time"] = words.micros(event.next_run_time)
    dag["next_logical_date"] = words.micros(event.next_logical_date)
    dag["no_next_run_reason"] = clip(event.no_next_run_reason)
    dag["active_runs"] = event.active_runs
    dag["updated_time"] = step.time
    if event.HasField("placement"):
        dag["cluster"] = event.placement.cluster
        dag["tier"] = event.placement.tier
        dag["partition"] = event.placement.partition


def _dag_removed(step: _Step, event: events_pb2.DagRemoved) -> None:
    dag = step.dag()
    dag["removed"] = True
    dag["updated_time"] = step.time


def _command_accepted(step: _Step, event: events_pb2.CommandAccepted) -> None:
    plan = next((getattr(event, name) for name in ("backfill_plan", "clear_plan") if event.HasField(name)), None)
    step.rows.put(
        "commands",
        {
            "request_id": event.request_id,
            "dag_id": step.dag_id,
            "accepted": True,
            "code": "",
            "message": "",
            "run_id": event.run_id,
            "task_count": event.task_count,
            "time": step.time,
            "plan": plan.SerializeToString() if plan is not None else None,
        },
    )


def _command_rejected(step: _Step, event: events_pb2.CommandRejected) -> None:
    step.rows.put(
        "commands",
        {
            "request_id": event.request_id,
            "dag_id": step.dag_id,
            "accepted": False,
            "code": clip(event.code, 100),
            "message": clip(event.message),
            "run_id": "",
            "task_count": 0,
            "time": step.time,
            "plan": None,
        },
    )


def _run_created(step: _Step, event: events_pb2.RunCreated) -> None:
    run = step.run()
    run["run_type"] = words.run_type(event.run_type)
    run["state"] = "queued"
    run["logical_date"] = words.micros(event.logical_date)
    run["data_interval_start"] = words.micros(event.data_interval_start)
    run["data_interval_end"] = words.micros(event.data_interval_end)
    run["run_after"] = words.micros(event.run_after)
    run["order_time"] = words.micros(event.run_after) or words.micros(event.logical_date) or step.time
    run["queued_time"] = step.time
    run["version"] = event.version
    run["actor"] = clip(event.actor.name, 250)
    run["note"] = clip(event.note)
    run["partition_key"] = clip(event.partition_key, 250)
    run["awaiting_layout"] = event.awaiting_layout
    run["backfill_id"] = event.backfill.backfill_id
    run["layout_tasks"] = event.task_count
    if event.HasField("triggered_by"):
        by = event.triggered_by
        run["triggered_by"] = f"{by.dag_id}/{by.run_id}/{by.task_id}/{by.map_index}"
    _conf(run, event.conf)
    asset_rows.consumed(step.rows, step.dag_id, step.run_id, step.time, event.asset_events)
    dag = step.dag()
    if dag["last_run_time"] is None or run["order_time"] >= dag["last_run_time"]:
        dag["last_run_id"] = step.run_id
        dag["last_run_time"] = run["order_time"]
        dag["last_run_state"] = run["state"]


def _conf(run: Row, conf: Any) -> None:
    run["conf"] = conf.inline if conf.WhichOneof("content") == "inline" else b""
    run["conf_key"] = conf.object.key if conf.WhichOneof("content") == "object" else ""


def _run_state_changed(step: _Step, event: events_pb2.RunStateChanged) -> None:
    run = step.run()
    run["state"] = words.run_state(event.state)
    run["marked"] = event.marked
    run["reason"] = clip(event.reason)
    run["start_time"] = words.micros(event.start_time) or run["start_time"]
    run["end_time"] = words.micros(event.end_time)
    if run["state"] == "running" and run["start_time"] is None:
        run["start_time"] = step.time
    if run["state"] in ("success", "failed") and run["end_time"] is None:
        run["end_time"] = step.time
    known = step.rows.get("dags", (step.dag_id,))
    if known is not None and known["last_run_id"] == step.run_id:
        step.dag()["last_run_state"] = run["state"]


def _run_version_changed(step: _Step, event: events_pb2.RunVersionChanged) -> None:
    run = step.run()
    run["version"] = event.version
    run["layout_tasks"] = event.task_count
    run["awaiting_layout"] = False


def _run_conf_changed(step: _Step, event: events_pb2.RunConfChanged) -> None:
    _conf(step.run(), event.conf)


def _run_backfill_changed(step: _Step, event: events_pb2.RunBackfillChanged) -> None:
    step.run().update(backfill_id=event.backfill.backfill_id, run_type="backfill")


def _task_expanded(step: _Step, event: events_pb2.TaskExpanded) -> None:
    run = step.run()
    run["expansions"][event.task_id] = event.length
    if event.length > 0:
        key = (step.dag_id, step.run_id, event.task_id, -1)
        placeholder = step.rows.get("tasks", key)
        if placeholder is not None:
            count(run, placeholder["state"], -1)
            step.rows.remove("tasks", key)


def _callback_changed(step: _Step, event: events_pb2.CallbackChanged) -> None:
    """A callback is a try without a task: it counts in no run."""
    key = callback_key(step.dag_id, step.run_id, event)
    row = step.rows.edit("tries", key)
    state = words.task_state(event.state)
    if row is None:
        row = new_try(dict(zip(("dag_id", "run_id", "task_id", "map_index"), key, strict=False)), event.number)
        step.rows.put("tries", row)
    row["state"] = state
    if state == "queued":
        row["queued_time"] = step.time
    elif state == "running":
        row.update(start_time=words.micros(event.start_time) or step.time, end_time=None, outcome="")
        row.update(executor=event.executor, worker=event.worker)
    else:
        row.update(
            outcome=words.outcome(event.outcome),
            message=clip(event.message),
            end_time=words.micros(event.end_time) or step.time,
            stages=[_stage(stage) for stage in event.stages],
            peak_memory_bytes=event.usage.peak_memory_bytes or None,
            read_bytes=event.usage.read_bytes or None,
            written_bytes=event.usage.written_bytes or None,
            cpu_seconds=event.usage.cpu_seconds or None,
            log_key=clip(event.log_key, 1500),
            log_bytes=event.log_bytes,
            worker=event.worker,
        )


def _task_state_changed(step: _Step, event: events_pb2.TaskStateChanged) -> None:
    decision_rows.changed(step.rows, step.dag_id, step.run_id, step.time, event)
    task = step.task(event.task_id, event.map_index)
    state = words.task_state(event.state)
    step.move(task, state)
    task["marked"] = event.marked
    task["reason"] = clip(event.reason)
    task["next_time"] = words.micros(event.next_time)
    if event.try_number > task["try_number"]:
        task.update(try_number=event.try_number, start_time=None, end_time=None, worker="", executor="")
    if event.try_number > 0 and state in BEGUN:
        attempt = step.attempt(task, event.try_number)
        attempt["state"] = state
        if attempt["queued_time"] is None:
            attempt["queued_time"] = step.time
        if state == "running":
            if attempt["start_time"] is None:
                attempt["start_time"] = step.time
            attempt["executor"] = event.executor or attempt["executor"]
            attempt["worker"] = event.worker or attempt["worker"]
        task["start_time"] = attempt["start_time"]
        task["end_time"] = None
        task["executor"] = attempt["executor"]
        task["worker"] = attempt["worker"]
    elif state in ("success", "failed", "skipped", "upstream_failed", "removed"):
        task["end_time"] = step.time
        if event.try_number == 0 and task["try_number"] == 0:
            task["start_time"] = None
    elif state == "none":
        task["start_time"] = task["end_time"] = None


def _task_ended(step: _Step, event: events_pb2.TaskEnded) -> None:
    task = step.task(event.task_id, event.map_index)
    state = words.task_state(event.state)
    step.move(task, state)
    attempt = step.attempt(task, event.try_number)
    start = words.micros(event.start_time) or attempt["start_time"]
    end = words.micros(event.end_time) or step.time
    attempt.update(
        state=state,
        outcome=words.outcome(event.outcome),
        message=clip(event.message),
        exit_code=event.exit_code,
        start_time=start,
        end_time=end,
        stages=[_stage(stage) for stage in event.stages],
        peak_memory_bytes=event.usage.peak_memory_bytes or None,
        read_bytes=event.usage.read_bytes or None,
        written_bytes=event.usage.written_bytes or None,
        cpu_seconds=event.usage.cpu_seconds or None,
        memory_request_bytes=event.usage.memory_request_bytes or None,
        memory_limit_bytes=event.usage.memory_limit_bytes or None,
        memory_source=clip(event.usage.memory_source, 20) or None,
        log_key=clip(event.log_key, 1500),
        log_bytes=event.log_bytes,
        worker=event.worker or attempt["worker"],
        application_id=clip(event.application_id, 500),
        builds=dict(sorted(event.builds.items())),
        exception_classes=list(event.exception_classes),
        rendered=event.rendered.inline,
        rendered_key=event.rendered.object.key,
    )
    failed = attempt["outcome"] not in ("success", "skipped")
    if event.try_number >= task["try_number"]:
        task.update(
            try_number=event.try_number,
            start_time=start,
            end_time=end,
            next_time=words.micros(event.next_time),
            reason="",
            marked=False,
            worker=attempt["worker"],
            executor=attempt["executor"],
            application_id=attempt["application_id"],
        )
    if failed:
        task["failed_try"] = max(task["failed_try"], event.try_number)


def _stage(stage: Any) -> Row:
    return {
        "name": words.STAGE_NAMES.get(stage.stage, ""),
        "start_time": words.micros(stage.start_time),
        "end_time": words.micros(stage.end_time),
        "outcome": words.stage_outcome(stage.outcome),
        "message": clip(stage.message, 1000),
    }


def _task_cleared(step: _Step, event: events_pb2.TaskCleared) -> None:
    task = step.task(event.task_id, event.map_index)
    step.move(task, "none")
    task.update(start_time=None, end_time=None, next_time=None, reason="", marked=False)


_HANDLERS: dict[str, Callable[[_Step, Any], None]] = {
    "callback_changed": _callback_changed,
    "dag_updated": _dag_updated,
    "dag_removed": _dag_removed,
    "command_accepted": _command_accepted,
    "command_rejected": _command_rejected,
    "run_created": _run_created,
    "run_state_changed": _run_state_changed,
    "run_version_changed": _run_version_changed,
    "run_conf_changed": _run_conf_changed,
    "run_backfill_changed": _run_backfill_changed,
    "backfill_created": lambda step, event: backfill_rows.created(step.rows, step.dag_id, step.time, event),
    "backfill_advanced": lambda step, event: backfill_rows.advanced(step.rows, step.dag_id, event),
    "backfill_state_changed": lambda step, event: backfill_rows.changed(step.rows, step.dag_id, step.time, event),
    "asset_event": lambda step, event: asset_rows.recorded(step.rows, event, step.time),
    "deadline_changed": lambda step, event: asset_rows.deadline(step.rows, step.dag_id, step.run_id, step.time, event),
    "task_expanded": _task_expanded,
    "task_state_changed": _task_state_changed,
    "task_ended": _task_ended,
    "task_cleared": _task_cleared,
}
