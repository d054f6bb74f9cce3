"""REST: who is asking, what this is, search, parse errors, audit, live changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response
from sse_starlette import EventSourceResponse

from spinner_webgateway.adapters.views import lists
from spinner_webgateway.api import models
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.routes_dags import GatewayDependency, Text
from spinner_webgateway.domain.changes import Change

router = APIRouter(tags=["system"])
CHANGE_PERIOD_SECONDS = 0.2
PING_SECONDS = 15.0
IDS_AN_EVENT = 1000
"""A page that sees more changes at once does better to load anew: the rest is cut and the client reloads."""


@router.get("/viewer", response_model=models.Viewer)
def get_viewer(gateway: GatewayDependency, caller: CallerDependency) -> Response:
    name = caller.name.removeprefix("user:")
    return answer({"name": name, "roles": list(caller.roles), "development": caller.development})


@router.get("/system", response_model=models.SystemInfo)
def get_system(gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "system.read", "system")
    return answer(
        {
            "version": gateway.version,
            "environment": gateway.environment,
            "cluster": gateway.cluster,
            "search": gateway.search.kind,
            "views_lag": gateway.lag(),
        }
    )


@router.get("/search", response_model=list[models.SearchHit])
def search(gateway: GatewayDependency, caller: CallerDependency, q: Text) -> Response:
    gateway.access.check(caller, "search", "search")
    return answer(gateway.search.find(q))


@router.get("/parse-errors", response_model=models.Page[models.ParseError])
def list_parse_errors(
    gateway: GatewayDependency,
    caller: CallerDependency,
    query: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    gateway.access.check(caller, "error.list", "parse-errors")
    return answer(gateway.query(lambda c: lists.parse_error_page(c, query, limit, cursor)))


@router.get("/parse-errors/history", response_model=models.Page[models.EndedParseError])
def list_ended_parse_errors(
    gateway: GatewayDependency,
    caller: CallerDependency,
    query: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Parse errors that are over, the latest first; the log keeps them for 90 days."""
    gateway.access.check(caller, "error.list", "parse-errors")
    return answer(gateway.query(lambda c: lists.parse_error_history_page(c, query, limit, cursor)))


@router.get("/audit", response_model=models.Page[models.AuditEntry])
def list_audit(
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Annotated[str, Query(max_length=520)] = "",
    actor: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What people and programs did, latest first; `subject=dag/etl` finds also what lies below it."""
    gateway.access.check(caller, "audit.list", subject or "audit")
    return answer(gateway.query(lambda c: lists.audit_page(c, subject, actor, limit, cursor)))


@router.get("/changes", response_class=EventSourceResponse)
async def watch_changes(gateway: GatewayDependency, caller: CallerDependency, dag_id: Text = "") -> EventSourceResponse:
    """Server-sent events: what changed since the last one, at most five a second."""
    gateway.access.check(caller, "dag.list", f"dag/{dag_id}" if dag_id else "dags")
    return EventSourceResponse(_changes(gateway, dag_id), ping=3600)


async def _changes(gateway: Gateway, dag_id: str) -> AsyncIterator[dict[str, str]]:
    def wanted(change: Change) -> Change | None:
        part = change.only(dag_id) if dag_id else change
        return part if part.visible() else None

    with gateway.hub.subscribe(wanted) as subscription:
        yield {"event": "ping", "data": "{}"}
        last = 0.0
        while True:
            change = await subscription.take(PING_SECONDS)
            if change is None:
                yield {"event": "ping", "data": "{}"}
                continue
            pause = last + CHANGE_PERIOD_SECONDS - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
                more = await subscription.take(0)
                if more is not None:
                    change.merge(more)
            last = time.monotonic()
            yield {"event": "change", "data": _change_text(change)}


def _change_text(change: Change) -> str:
    return orjson.dumps(
        {
            "dags": sorted(change.dags)[:IDS_AN_EVENT],
            "runs": sorted(change.runs)[:IDS_AN_EVENT],
            "parse_errors": change.parse_errors,
        }
    ).decode()
