"""Events in words, for the run's history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict
from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.domain import words


def describe(event: events_pb2.WorkflowEvent) -> str:
    """Returns one line that says what happened."""
    kind = event.WhichOneof("kind")
    if kind is None:
        return "An event that this version doesn't know"
    text = _TEXTS.get(kind)
    return text(getattr(event, kind)) if text else kind.replace("_", " ").capitalize()


def message_dict(message: Any) -> dict[str, Any]:
    """Returns a message as JSON with the contract's field names."""
    result: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return result


def _task(body: Any) -> str:
    return f"{body.task_id}[{body.map_index}]" if body.map_index >= 0 else str(body.task_id)


def _by(actor: Any) -> str:
    return f" by {actor.name}" if actor.name else ""


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _run_created(event: events_pb2.RunCreated) -> str:
    text = f"Run created ({words.run_type(event.run_type)}){_by(event.actor)}, version {event.version or 'unknown'}"
    return text + (", its layout is being computed" if event.awaiting_layout else f", {event.task_count} tasks")


def _run_state(event: events_pb2.RunStateChanged) -> str:
    verb = "marked" if event.marked else "is"
    return f"Run {verb} {words.run_state(event.state)}{_because(event.reason)}"


def _callback(event: events_pb2.CallbackChanged) -> str:
    of = f"of {_task(event)} (try {event.number})" if event.task_id else "of the DAG"
    return f"Callbacks for {event.callback} {of}: {words.task_state(event.state).replace('_', ' ')}" + _because(
        event.message
    )


def _task_state(event: events_pb2.TaskStateChanged) -> str:
    verb = "marked" if event.marked else "is"
    text = f"{_task(event)} {verb} {words.task_state(event.state).replace('_', ' ')}"
    if event.try_number:
        text += f" (try {event.try_number})"
    if event.worker:
        text += f" in {event.worker}"
    return text + _by(event.actor) + _because(event.reason)


def _task_ended(event: events_pb2.TaskEnded) -> str:
    outcome = words.outcome(event.outcome).replace("_", " ") or "unknown outcome"
    text = f"{_task(event)} try {event.try_number} ended: {outcome}"
    state = words.task_state(event.state)
    if state != words.outcome(event.outcome):
        text += f", now {state.replace('_', ' ')}"
    return text + _because(event.message)


_TEXTS: dict[str, Callable[[Any], str]] = {
    "run_created": _run_created,
    "callback_changed": _callback,
    "run_state_changed": _run_state,
    "run_version_changed": lambda e: f"Run now follows version {e.version}, {e.task_count} tasks",
    "run_version_planned": lambda e: f"Run takes version {e.version} when its tries in progress have been killed",
    "run_backfill_changed": lambda e: f"Run taken over by backfill {e.backfill.backfill_id}",
    "run_conf_changed": lambda _: "Configuration replaced",
    "task_state_changed": _task_state,
    "task_ended": _task_ended,
    "task_expanded": lambda e: f"{e.task_id} expands to {e.length} instances",
    "task_cleared": lambda e: f"{_task(e)} cleared{_by(e.actor)}",
    "task_skip_decided": lambda e: f"{e.by_task_id} decided to skip {', '.join(e.task_ids)}",
    "command_accepted": lambda e: f"Command {e.request_id} accepted{_by(e.actor)}",
    "command_rejected": lambda e: f"Command {e.request_id} rejected{_by(e.actor)}: {e.message}",
}
