"""Event → row changes. Pure: what a record means for the views, without a database or a log.

Invariants that make a rebuild give the same rows, whatever the order in which topics are read:

- A table is fed by one topic, with two exceptions inside one partition (events of a run and of its DAG), whose
  order is fixed. What comes together from several topics is joined when it is read, never when it is written.
- A task instance without an event has no row: it is "none". So creating a run of 5,000 tasks writes one row, and
  a run need not wait for its definition. `run_rows.instances` says how many there are.
- The counters of a run change with its task rows, in the same working set.

Two steps for each record: `needs` names the rows to load, `apply` changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import asset_rows, backfill_rows, dag_rows, decision_rows, run_rows, task_rows, words
from spinner_webgateway.domain.compression import compress
from spinner_webgateway.domain.rows import Need, WorkingSet
from spinner_webgateway.domain.step import Step
from spinner_webgateway.domain.task_rows import callback_key
from spinner_webgateway.domain.unreadable import Unreadable, check_id

_OF_RUNS = (
    "run_created",
    "run_state_changed",
    "run_version_changed",
    "run_conf_changed",
    "run_backfill_changed",
    "deadline_changed",
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record was read."""

    cell: str
    partition: int
    offset: int


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
    step = Step(rows, message.dag_id, message.run_id, words.micros(message.time) or 0)
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


_HANDLERS: dict[str, Callable[[Step, Any], None]] = {
    "callback_changed": task_rows.callback_changed,
    "dag_updated": dag_rows.dag_updated,
    "dag_removed": dag_rows.dag_removed,
    "command_accepted": dag_rows.command_accepted,
    "command_rejected": dag_rows.command_rejected,
    "run_created": run_rows.run_created,
    "run_state_changed": run_rows.run_state_changed,
    "run_version_changed": run_rows.run_version_changed,
    "run_conf_changed": run_rows.run_conf_changed,
    "run_backfill_changed": run_rows.run_backfill_changed,
    "backfill_created": lambda step, event: backfill_rows.created(step.rows, step.dag_id, step.time, event),
    "backfill_advanced": lambda step, event: backfill_rows.advanced(step.rows, step.dag_id, event),
    "backfill_state_changed": lambda step, event: backfill_rows.changed(step.rows, step.dag_id, step.time, event),
    "asset_event": lambda step, event: asset_rows.recorded(step.rows, event, step.time),
    "deadline_changed": lambda step, event: asset_rows.deadline(step.rows, step.dag_id, step.run_id, step.time, event),
    "task_expanded": task_rows.task_expanded,
    "task_state_changed": task_rows.task_state_changed,
    "task_ended": task_rows.task_ended,
    "task_cleared": task_rows.task_cleared,
}
