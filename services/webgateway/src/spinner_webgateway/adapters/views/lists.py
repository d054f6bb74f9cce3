"""Parse errors, audit trail, pools, variables, connections, answers to commands."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.backfills import backfills
from spinner_webgateway.adapters.tables.dags import parse_error_history, parse_errors
from spinner_webgateway.adapters.tables.runs import runs, tasks
from spinner_webgateway.adapters.tables.settings import audit, connections, pools, variables
from spinner_webgateway.adapters.tables.system import commands
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.adapters.views.paging import contains, encode_cursor, like, offset_of, page
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso


def parse_error(row: Row) -> dict[str, Any]:
    names = ("bundle", "relative_path", "bundle_version", "error_type", "message", "stack_trace", "line")
    return {
        **{name: row[name] for name in (*names, "source_line", "fix", "dag_ids", "findings")},
        "detected_time": iso(row["detected_time"]),
        "last_updated_time": iso(row["last_updated_time"]),
    }


def parse_error_page(connection: sa.Connection, query: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `ParseError`, latest first; the query is looked for in path, type, message and DAG ids."""
    columns = parse_errors.c
    order = (columns.last_updated_time.desc(), columns.error_key)
    return _offset_page(connection, parse_errors, _about(parse_errors, query), order, limit, cursor, parse_error)


def parse_error_history_page(connection: sa.Connection, query: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `EndedParseError`, the one that ended last first; the query is as for the present ones."""
    columns = parse_error_history.c
    order = (columns.end_time.desc(), columns.error_key, columns.last_updated_time.desc())
    about = _about(parse_error_history, query)
    return _offset_page(connection, parse_error_history, about, order, limit, cursor, _parse_error_ended)


def _parse_error_ended(row: Row) -> dict[str, Any]:
    return {**parse_error(row), "end_time": iso(row["end_time"])}


def _about(table: sa.Table, query: str) -> list[sa.ColumnElement[bool]]:
    if not query:
        return []
    columns = table.c
    ids = sa.cast(columns.dag_ids, sa.Text().with_variant(sa.CHAR(), "mysql", "mariadb"))
    places = (columns.relative_path, columns.error_type, columns.message, ids)
    return [sa.or_(*(contains(place, query) for place in places))]


def audit_page(connection: sa.Connection, subject: str, actor: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `AuditEntry`, latest first; a subject also finds what lies below it."""
    columns = audit.c
    conditions: list[sa.ColumnElement[bool]] = []
    if subject:
        below = like(subject)[1:-1] + "/%"
        conditions.append(sa.or_(columns.subject == subject, columns.subject.like(below, escape="!")))
    if actor:
        conditions.append(columns.actor == actor)
    order = (columns.time.desc(), columns.event_id)
    return _offset_page(connection, audit, conditions, order, limit, cursor, _audit_entry)


def _audit_entry(row: Row) -> dict[str, Any]:
    names = ("actor", "via", "action", "subject", "result", "details")
    return {"time": iso(row["time"]), **{name: row[name] for name in names}}


def _offset_page(
    connection: sa.Connection,
    table: sa.Table,
    conditions: list[sa.ColumnElement[bool]],
    order: tuple[Any, ...],
    limit: int,
    cursor: str | None,
    shape: Any,
) -> dict[str, Any]:
    total = connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()
    start = offset_of(cursor)
    found = connection.execute(sa.select(table).where(*conditions).order_by(*order).limit(limit).offset(start))
    items = [shape(dict(row)) for row in found.mappings()]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


DEFAULT_POOL = "default_pool"
LOCAL_POOLS = {
    DEFAULT_POOL: (256, "Tasks that name no pool; each scheduler partition has these slots"),
    "backfill": (64, "Tasks of backfills that name no pool; each scheduler partition has these slots"),
}
"""Pools that are always there, with what a scheduler partition gives them until somebody sets them."""


def pool_list(connection: sa.Connection, known: Definitions) -> list[dict[str, Any]]:
    """Returns every `PoolInfo` by name with what runs and waits in it."""
    rows = {row["name"]: dict(row) for row in connection.execute(sa.select(pools)).mappings()}
    for name, (slots, text) in LOCAL_POOLS.items():
        rows.setdefault(name, {"name": name, "slots": slots, "include_deferred": False, "description": text})
    usage: dict[tuple[str, str], int] = {}
    active = connection.execute(
        sa.select(
            tasks.c.dag_id,
            runs.c.version,
            sa.func.coalesce(backfills.c.pool, DEFAULT_POOL),
            tasks.c.task_id,
            tasks.c.state,
            sa.func.count(),
        )
        .select_from(
            tasks.join(runs, sa.and_(runs.c.dag_id == tasks.c.dag_id, runs.c.run_id == tasks.c.run_id)).outerjoin(
                backfills,
                sa.and_(backfills.c.dag_id == runs.c.dag_id, backfills.c.backfill_id == runs.c.backfill_id),
            )
        )
        .where(tasks.c.state.in_(("running", "queued", "scheduled")))
        .group_by(tasks.c.dag_id, runs.c.version, backfills.c.pool, tasks.c.task_id, tasks.c.state)
    )
    for dag_id, version, default, task_id, state, count in active:
        graph = known.get(dag_id, version)
        pool = graph.pool(task_id) if graph else ""
        pool = default if pool == DEFAULT_POOL else pool
        kind = "running" if state == "running" else "queued"
        usage[pool, kind] = usage.get((pool, kind), 0) + count
    return [
        {
            "name": name,
            "slots": row["slots"],
            "description": row["description"],
            "include_deferred": bool(row["include_deferred"]),
            "running": usage.get((name, "running"), 0),
            "queued": usage.get((name, "queued"), 0),
        }
        for name, row in sorted(rows.items())
    ]


def variable_list(connection: sa.Connection) -> list[dict[str, Any]]:
    return [variable(dict(row)) for row in connection.execute(sa.select(variables).order_by("name")).mappings()]


def variable(row: Row) -> dict[str, Any]:
    secret = bool(row["encrypted"])
    return {
        "name": row["name"],
        "value": None if secret else row["value"],
        "secret": secret,
        "description": row["description"],
    }


def connection_list(connection: sa.Connection) -> list[dict[str, Any]]:
    found = connection.execute(sa.select(connections).order_by("connection_id")).mappings()
    return [connection_info(dict(row)) for row in found]


def connection_info(row: Row) -> dict[str, Any]:
    return {
        "connection_id": row["connection_id"],
        "type": row["type"],
        "host": row["host"],
        "port": row["port"] or None,
        "schema": row["schema"],
        "login": row["login"],
        "has_password": bool(row["encrypted_password"]),
        "description": row["description"],
    }


def row_of(connection: sa.Connection, table: sa.Table, key: str) -> Row | None:
    """Returns the row of a table whose key is one column."""
    column = next(iter(table.primary_key.columns))
    row = connection.execute(sa.select(table).where(column == key)).mappings().first()
    return dict(row) if row else None


def answer_of(connection: sa.Connection, request_id: str) -> Row | None:
    """Returns what the scheduler answered to a command, None while it didn't."""
    return row_of(connection, commands, request_id)
