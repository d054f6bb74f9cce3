"""What notifiers have in common."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from spinner.exceptions import SpinnerException


class BaseNotifier:
    """A callback. Subclasses name ``template_fields`` and implement :meth:`notify`, which may raise."""

    template_fields: ClassVar[Sequence[str]] = ()

    def notify(self, context: dict[str, Any]) -> None:
        """Tells. Its fields are rendered."""
        raise NotImplementedError(f"{type(self).__name__} does not implement notify().")

    def __call__(self, context: dict[str, Any]) -> None:
        rendered = copy.copy(self)
        for name in self.template_fields:
            setattr(rendered, name, _render(getattr(self, name), context))
        rendered.notify(context)


def _render(value: Any, context: dict[str, Any]) -> Any:
    if isinstance(value, str):
        from spinner.runtime.templates import Renderer

        # Texts are templates, not references: without a try there is nothing that they could pull.
        source: Any = context.get("ti")
        return str(Renderer(context["dag"], context, source).render(value))
    if isinstance(value, dict):
        return {key: _render(item, context) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_render(item, context) for item in value]
    return value


def subject_of(context: dict[str, Any]) -> str:
    """ "dag.task" or "dag", for titles."""
    ti = context.get("ti")
    return f"{ti.dag_id}.{ti.task_id}" if ti is not None else str(context["dag"].dag_id)


def state_of(context: dict[str, Any]) -> str:
    """How it ended, in a word."""
    if "deadline" in context:
        return "will miss its deadline" if context["deadline"]["predicted"] else "missed its deadline"
    return str((context.get("ti") or context["dag_run"]).state).replace("_", " ")


def link_of(context: dict[str, Any]) -> str:
    """Where the run or try is in the UI; "" without SPINNER_UI_URL."""
    base = os.environ.get("SPINNER_UI_URL", "").rstrip("/")
    if not base:
        return ""
    run = context["dag_run"]
    where = f"{base}/dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}"
    ti = context.get("ti")
    return where if ti is None else f"{where}/tasks/{quote(ti.task_id, safe='')}/{ti.map_index}?try={ti.try_number}"


def facts_of(context: dict[str, Any]) -> dict[str, Any]:
    """What a program wants to know, as JSON values."""
    run, ti = context["dag_run"], context.get("ti")
    facts: dict[str, Any] = {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "logical_date": context.get("ts"),
        "state": str((ti or run).state),
        "reason": str(context.get("reason") or ""),
        "url": link_of(context),
    }
    if ti is not None:
        facts |= {"task_id": ti.task_id, "map_index": ti.map_index, "try_number": ti.try_number}
        facts |= {"max_tries": ti.max_tries, "owner": getattr(ti.task, "owner", "")}
    if "deadline" in context:
        deadline = context["deadline"]
        facts["deadline"] = {**deadline, "deadline_time": deadline["deadline_time"].isoformat()}
    return facts


def connection(conn_id: str, what: str) -> Any:
    """The connection. Raises SpinnerException that says how to make it."""
    from spinner.connections import Connection
    from spinner.runtime.current import current_api

    found: Connection | None = current_api().get_connection(conn_id)
    if found is None:
        raise SpinnerException(f"Connection {conn_id!r} for {what} does not exist. Make it: spinner connections set.")
    return found
