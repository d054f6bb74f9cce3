"""What tasks ask people, and their answers, from events of the tasks. Pure.

A request whose task does something else than wait (it was cleared, marked, stopped) is closed; that is joined from
`tasks` when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import words
from spinner_webgateway.domain.rows import Need, WorkingSet
from spinner_webgateway.domain.words import clip


def _key(dag_id: str, run_id: str, event: events_pb2.TaskStateChanged) -> tuple[str, str, str, int, int]:
    return dag_id, run_id, event.task_id, event.map_index, event.try_number


def needs(dag_id: str, run_id: str, event: events_pb2.TaskStateChanged) -> Iterator[Need]:
    """Yields the row that an answer changes."""
    if event.resume_event_json or event.resume_error:
        yield "decisions", _key(dag_id, run_id, event)


def changed(rows: WorkingSet, dag_id: str, run_id: str, time: int, event: events_pb2.TaskStateChanged) -> None:
    if event.deferral.HasField("human") and not event.cancelled_as:
        _asked(rows, dag_id, run_id, time, event)
    elif event.resume_event_json or event.resume_error:
        row = rows.edit("decisions", _key(dag_id, run_id, event))
        if row is not None and row["state"] == "waiting":
            said = _object(event.resume_event_json)
            row["state"] = "timed_out" if event.resume_error or said.get("timed_out") else "decided"
            row["chosen_options"] = list(said.get("chosen_options") or [])
            row["params_input"] = dict(said.get("params_input") or {})
            row["decided_by"] = clip(str(said.get("decided_by") or ""), 250)
            row["note"] = clip(str(said.get("note") or ""))
            row["decided_time"] = time


def _asked(rows: WorkingSet, dag_id: str, run_id: str, time: int, event: events_pb2.TaskStateChanged) -> None:
    human = event.deferral.human
    rows.put(
        "decisions",
        {
            "dag_id": dag_id,
            "run_id": run_id,
            "task_id": event.task_id,
            "map_index": event.map_index,
            "try_number": event.try_number,
            "state": "waiting",
            "kind": clip(human.kind, 20) or "choice",
            "subject": clip(human.subject),
            "body": human.body,
            "options": list(human.options),
            "defaults": list(human.defaults),
            "multiple": human.multiple,
            "params": _object(human.params_json),
            "assignees": list(human.assignees),
            "requested_time": time,
            "deadline": words.micros(human.deadline),
            "chosen_options": [],
            "params_input": {},
            "decided_by": "",
            "decided_time": None,
            "note": "",
        },
    )


def _object(text: bytes) -> dict[str, Any]:
    """Foreign input: what is no JSON object says nothing."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
