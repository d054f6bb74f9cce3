"""Events of task instances, their tries and callbacks → rows. Pure.

A task instance shows its latest try; tries stay as they ended. A callback is a try without a task.
"""

from __future__ import annotations

from typing import Any

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import decision_rows, words
from spinner_webgateway.domain.new_rows import new_try
from spinner_webgateway.domain.rows import Key, Row
from spinner_webgateway.domain.step import Step, count
from spinner_webgateway.domain.words import clip

BEGUN = frozenset({"queued", "running", "deferred", "up_for_reschedule"})
"""States in which a try exists."""

CALLBACK = "__callback__"


def callback_key(dag_id: str, run_id: str, event: events_pb2.CallbackChanged) -> Key:
    """Returns the key of a callback's row among the tries: it is the key of its own try."""
    task_id = f"{CALLBACK}.{event.task_id}" if event.task_id else CALLBACK
    return dag_id, run_id, task_id, event.map_index, event.number


def task_state_changed(step: Step, event: events_pb2.TaskStateChanged) -> None:
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


def task_ended(step: Step, event: events_pb2.TaskEnded) -> None:
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


def task_cleared(step: Step, event: events_pb2.TaskCleared) -> None:
    task = step.task(event.task_id, event.map_index)
    step.move(task, "none")
    task.update(start_time=None, end_time=None, next_time=None, reason="", marked=False)


def task_expanded(step: Step, event: events_pb2.TaskExpanded) -> None:
    run = step.run()
    run["expansions"][event.task_id] = event.length
    if event.length > 0:
        key = (step.dag_id, step.run_id, event.task_id, -1)
        placeholder = step.rows.get("tasks", key)
        if placeholder is not None:
            count(run, placeholder["state"], -1)
            step.rows.remove("tasks", key)


def callback_changed(step: Step, event: events_pb2.CallbackChanged) -> None:
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


def _stage(stage: Any) -> Row:
    return {
        "name": words.STAGE_NAMES.get(stage.stage, ""),
        "start_time": words.micros(stage.start_time),
        "end_time": words.micros(stage.end_time),
        "outcome": words.stage_outcome(stage.outcome),
        "message": clip(stage.message, 1000),
    }
