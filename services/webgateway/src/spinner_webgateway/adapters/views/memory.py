"""What tasks ask for: definitions, what was learned, what people set."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from spinner_servicekit.quantities import InvalidQuantity, parse_bytes

from spinner_webgateway.adapters.tables.settings import task_resources
from spinner_webgateway.adapters.tables.system import task_usage
from spinner_webgateway.domain.layout import DefinitionGraph, json_object
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso


def of_dag(connection: sa.Connection, dag_id: str, graph: DefinitionGraph | None) -> list[dict[str, Any]]:
    """Returns `TaskMemory` of every task of the layout, and of others that something is known of."""
    usage = _rows(connection, task_usage, dag_id)
    chosen = _rows(connection, task_resources, dag_id)
    names = list(graph.task_ids) if graph else []
    names += sorted((usage.keys() | chosen.keys()) - set(names))
    return [_shape(name, graph, usage.get(name), chosen.get(name)) for name in names]


def chosen_of(connection: sa.Connection, dag_id: str, task_id: str) -> Row | None:
    """Returns what people set for a task."""
    return _rows(connection, task_resources, dag_id).get(task_id)


def _rows(connection: sa.Connection, table: sa.Table, dag_id: str) -> dict[str, Row]:
    found = connection.execute(sa.select(table).where(table.c.dag_id == dag_id)).mappings()
    return {row["task_id"]: dict(row) for row in found}


def _shape(name: str, graph: DefinitionGraph | None, usage: Row | None, chosen: Row | None) -> dict[str, Any]:
    request, limit = _configured(graph, name) if graph is not None else (0, 0)
    shape: dict[str, Any] = {
        "task_id": name,
        "request_bytes": request,
        "limit_bytes": limit,
        "source": "configured" if request or limit else "",
        "configured_request_bytes": request,
        "configured_limit_bytes": limit,
        "learned_request_bytes": 0,
        "raised_limit_bytes": 0,
        "set_request_bytes": 0,
        "set_limit_bytes": 0,
        "set_by": "",
        "changed_time": None,
        "samples": [],
    }
    forgotten = (chosen or {}).get("reset_time") or 0
    if usage is not None and usage["time"] > forgotten:
        if usage["next_source"] in ("learned", "raised"):
            shape |= {
                "request_bytes": usage["next_request_bytes"],
                "limit_bytes": usage["next_limit_bytes"],
                "source": usage["next_source"],
            }
        shape |= {
            "learned_request_bytes": usage["learned_request_bytes"],
            "raised_limit_bytes": usage["raised_limit_bytes"],
            "samples": [
                {**sample, "time": iso(sample["time"])} for sample in usage["samples"] if sample["time"] > forgotten
            ],
        }
    return shape if chosen is None else with_chosen(shape, chosen)


def with_chosen(shape: dict[str, Any], chosen: Row) -> dict[str, Any]:
    """Returns the shape as it is when people's choice counts."""
    asked, most = chosen["memory_request_bytes"], chosen["memory_limit_bytes"]
    shape = {
        **shape,
        "set_request_bytes": asked,
        "set_limit_bytes": most,
        "set_by": chosen["actor"],
        "changed_time": iso(chosen["time"]),
    }
    if asked or most:
        limit = most or shape["limit_bytes"]
        request = asked or (min(shape["request_bytes"], limit) if limit else shape["request_bytes"])
        shape |= {"request_bytes": request, "limit_bytes": max(limit, request) if limit else 0, "source": "set"}
    return shape


def _configured(graph: DefinitionGraph, name: str) -> tuple[int, int]:
    n = graph.index.get(name)
    resources = {} if n is None else json_object(graph.definition.tasks[n].resources_json)
    amounts = []
    for what in ("request_memory", "limit_memory"):
        amounts.append(0)
        with suppress(InvalidQuantity, TypeError):
            amounts[-1] = parse_bytes(resources.get(what) or 0)
    return amounts[0], amounts[1]
