"""Events of backfills → rows. Pure.

How far the runs of a backfill are is joined from `runs` when it is read: those events are of another key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import words
from spinner_webgateway.domain.rows import Need, WorkingSet
from spinner_webgateway.domain.words import clip

KINDS = ("backfill_created", "backfill_advanced", "backfill_state_changed")
ENDED = ("cancelled", "done")


def id_of(event: events_pb2.WorkflowEvent) -> str:
    """Returns the backfill of an event of one of KINDS."""
    if event.HasField("backfill_created"):
        return event.backfill_created.request.backfill_id
    return str(getattr(event, event.WhichOneof("kind") or "").backfill_id)


def needs(dag_id: str, events: Iterable[events_pb2.WorkflowEvent]) -> Iterator[Need]:
    """Yields the rows that applying these events reads."""
    for event in events:
        if event.WhichOneof("kind") in KINDS[1:]:
            yield "backfills", (dag_id, id_of(event))


def created(rows: WorkingSet, dag_id: str, time: int, event: events_pb2.BackfillCreated) -> None:
    request = event.request
    rows.put(
        "backfills",
        {
            "dag_id": dag_id,
            "backfill_id": request.backfill_id,
            "state": "created",
            "reason": "",
            "from_date": words.micros(request.from_date) or 0,
            "to_date": words.micros(request.to_date) or 0,
            "run_order": words.run_order(request.run_order),
            "reprocess_behavior": words.reprocess_behavior(request.reprocess_behavior),
            "max_active_runs": request.max_active_runs,
            "task_ids": list(request.task_ids),
            "conf": request.conf.inline,
            "conf_key": request.conf.object.key,
            "skip_callbacks": request.skip_callbacks,
            "pool": clip(request.pool, 250),
            "note": clip(request.note),
            "version": event.version,
            "actor": clip(event.actor.name, 250),
            "interval_count": event.interval_count,
            "taken_count": 0,
            "skip_count": 0,
            "created_time": time,
            "end_time": None,
        },
    )


def advanced(rows: WorkingSet, dag_id: str, event: events_pb2.BackfillAdvanced) -> None:
    backfill = rows.edit("backfills", (dag_id, event.backfill_id))
    for interval in event.intervals:
        row = interval_row(interval)
        rows.put("backfill_intervals", {"dag_id": dag_id, "backfill_id": event.backfill_id, **row})
        if backfill is not None:
            backfill["taken_count"] += 1
            backfill["skip_count"] += row["action"] == "skip"


def interval_row(interval: events_pb2.BackfillInterval) -> dict[str, Any]:
    """Returns what there is to say of an interval, planned or taken up."""
    return {
        "logical_date": words.micros(interval.logical_date) or 0,
        "data_interval_start": words.micros(interval.data_interval_start),
        "data_interval_end": words.micros(interval.data_interval_end),
        "action": words.backfill_action(interval.action),
        "run_id": interval.run_id,
        "reason": clip(interval.reason),
    }


def changed(rows: WorkingSet, dag_id: str, time: int, event: events_pb2.BackfillStateChanged) -> None:
    backfill = rows.edit("backfills", (dag_id, event.backfill_id))
    if backfill is not None:
        backfill["state"] = words.backfill_state(event.state)
        backfill["reason"] = clip(event.reason)
        backfill["end_time"] = time if backfill["state"] in ENDED else None
