"""Runs and their events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.adapters.tables.runs import run_events, runs
from spinner_webgateway.adapters.views.paging import decode_cursor, encode_cursor, page
from spinner_webgateway.domain import run_rows
from spinner_webgateway.domain.compression import decompress
from spinner_webgateway.domain.describe import describe, message_dict
from spinner_webgateway.domain.layout import json_object
from spinner_webgateway.domain.problems import run_not_found
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso, micros

SUMMARY = [column for column in runs.c if column.name not in ("conf", "conf_key", "triggered_by")]

Period = tuple[int | None, int | None]
"""From and until (excluded), in microseconds; None: without that bound."""
ALWAYS: Period = (None, None)


def seconds_between(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start) / 1e6)


def summary(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dag_id": row["dag_id"],
        "run_id": row["run_id"],
        "run_type": row["run_type"],
        "state": row["state"],
        "marked": bool(row["marked"]),
        "logical_date": iso(row["logical_date"]),
        "data_interval_start": iso(row["data_interval_start"]),
        "data_interval_end": iso(row["data_interval_end"]),
        "run_after": iso(row["run_after"]),
        "queued_time": iso(row["queued_time"]),
        "start_time": iso(row["start_time"]),
        "end_time": iso(row["end_time"]),
        "duration_seconds": seconds_between(row["start_time"], row["end_time"]),
        "version": row["version"],
        "actor": row["actor"],
        "note": row["note"],
        "partition_key": row["partition_key"],
        "reason": row["reason"],
        "task_counts": run_rows.task_counts(row),
    }


def find(connection: sa.Connection, dag_id: str, run_id: str) -> Row:
    """Returns the run's whole row; raises the 404 problem."""
    row = connection.execute(sa.select(runs).where(runs.c.dag_id == dag_id, runs.c.run_id == run_id)).mappings().first()
    if row is None:
        raise run_not_found(dag_id, run_id)
    return dict(row)


def details(row: Row, conf: bytes) -> dict[str, Any]:
    """Returns the shape `Run`; `conf` is the JSON text, wherever it was kept."""
    return {**summary(row), "conf": json_object(conf), "awaiting_layout": bool(row["awaiting_layout"])}


def listing(
    connection: sa.Connection,
    dag_id: str | None,
    states: Sequence[str],
    limit: int,
    cursor: str | None,
    due: Period = ALWAYS,
) -> dict[str, Any]:
    """Returns a page of `RunSummary`, newest first."""
    counted = sa.select(sa.func.count()).select_from(runs).where(*_conditions(dag_id, states, due))
    total = connection.execute(counted).scalar_one()
    rows, following = rows_page(connection, dag_id, states, limit, cursor, due)
    return page([summary(row) for row in rows], total, following)


def _conditions(dag_id: str | None, states: Sequence[str], due: Period) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if dag_id:
        conditions.append(runs.c.dag_id == dag_id)
    if states:
        conditions.append(runs.c.state.in_(states))
    if due[0] is not None:
        conditions.append(runs.c.order_time >= due[0])
    if due[1] is not None:
        conditions.append(runs.c.order_time < due[1])
    return conditions


def rows_page(
    connection: sa.Connection,
    dag_id: str | None,
    states: Sequence[str],
    limit: int,
    cursor: str | None,
    due: Period = ALWAYS,
) -> tuple[list[Row], str | None]:
    """Returns rows of runs, newest first, and the cursor of the next page."""
    conditions = _conditions(dag_id, states, due)
    after = decode_cursor(cursor, int, str, str)
    if after:
        conditions.append(older_than(*after))
    order = (runs.c.order_time.desc(), runs.c.dag_id.desc(), runs.c.run_id.desc())
    found = connection.execute(sa.select(*SUMMARY).where(*conditions).order_by(*order).limit(limit + 1)).mappings()
    rows = [dict(row) for row in found]
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor(last["order_time"], last["dag_id"], last["run_id"])


def older_than(order_time: int, dag_id: str, run_id: str) -> sa.ColumnElement[bool]:
    """Returns the condition that a run comes after this one in lists, which are newest first."""
    return sa.or_(
        runs.c.order_time < order_time,
        sa.and_(
            runs.c.order_time == order_time,
            sa.or_(runs.c.dag_id < dag_id, sa.and_(runs.c.dag_id == dag_id, runs.c.run_id < run_id)),
        ),
    )


def latest(connection: sa.Connection, dag_id: str, count: int, before: str | None = None) -> list[Row]:
    """Returns the rows of the latest runs, newest last; with `before`, those older than that run."""
    conditions = [runs.c.dag_id == dag_id]
    if before:
        row = find(connection, dag_id, before)
        conditions.append(older_than(row["order_time"], dag_id, before))
    found = connection.execute(
        sa.select(*SUMMARY).where(*conditions).order_by(runs.c.order_time.desc(), runs.c.run_id.desc()).limit(count)
    ).mappings()
    return [dict(row) for row in found][::-1]


_RECENT = (
    sa.select(*SUMMARY)
    .where(runs.c.dag_id == sa.bindparam("wanted_dag"))
    .order_by(runs.c.order_time.desc(), runs.c.run_id.desc())
    .limit(sa.bindparam("wanted_count", type_=sa.Integer))
)


def recent_of(connection: sa.Connection, dag_ids: Sequence[str], count: int = 25) -> dict[str, list[dict[str, Any]]]:
    """Returns the latest runs of each DAG, newest last. Costs `count` index steps a DAG, whatever their history.

    One small statement a DAG: a union of them costs more to build and to plan than all of them to run.
    """
    result = {}
    for dag_id in dag_ids:
        found = connection.execute(_RECENT, {"wanted_dag": dag_id, "wanted_count": count}).mappings().all()
        result[dag_id] = [summary(dict(row)) for row in reversed(found)]
    return result


def event_records(
    connection: sa.Connection, dag_id: str, run_id: str, after: tuple[str, int, int] | None = None
) -> Iterator[tuple[Row, events_pb2.WorkflowEvents]]:
    """Yields the run's records in order; `after` is the (cell, partition, offset) to go on from."""
    columns = run_events.c
    query = sa.select(run_events).where(columns.dag_id == dag_id, columns.run_id == run_id)
    if after:
        cell, partition, offset = after
        query = query.where(
            sa.or_(
                columns.cell > cell,
                sa.and_(
                    columns.cell == cell,
                    sa.or_(
                        columns.partition > partition,
                        sa.and_(columns.partition == partition, columns.offset > offset),
                    ),
                ),
            )
        )
    query = query.order_by(columns.cell, columns.partition, columns.offset)
    for row in connection.execute(query).mappings():
        yield dict(row), events_pb2.WorkflowEvents.FromString(decompress(row["content"]))


def last_position(connection: sa.Connection, dag_id: str, run_id: str) -> tuple[str, int, int] | None:
    """Returns (cell, partition, offset) of the run's latest record."""
    columns = run_events.c
    row = connection.execute(
        sa.select(columns.cell, columns.partition, columns.offset)
        .where(columns.dag_id == dag_id, columns.run_id == run_id)
        .order_by(columns.cell.desc(), columns.partition.desc(), columns.offset.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.cell, row.partition, row.offset)


def events(connection: sa.Connection, dag_id: str, run_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `EventEntry`, oldest first."""
    find(connection, dag_id, run_id)
    columns = run_events.c
    total = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(columns.event_count), 0)).where(
            columns.dag_id == dag_id, columns.run_id == run_id
        )
    ).scalar_one()
    start = decode_cursor(cursor, str, int, int, int)
    after = None
    if start:
        # The record in which the page begins is read again: `after` is the offset before it.
        after = (start[0], start[1], start[2] - 1)
    items: list[dict[str, Any]] = []
    for row, message in event_records(connection, dag_id, run_id, after):
        here = bool(start) and [row["cell"], row["partition"], row["offset"]] == (start or [])[:3]
        for index in range((start or [0, 0, 0, 0])[3] if here else 0, len(message.events)):
            if len(items) == limit:
                return page(items, int(total), encode_cursor(row["cell"], row["partition"], row["offset"], index))
            items.append(_entry(row, message, index))
    return page(items, int(total), None)


def _entry(row: Row, message: events_pb2.WorkflowEvents, index: int) -> dict[str, Any]:
    event = message.events[index]
    kind = event.WhichOneof("kind") or "unknown"
    body = getattr(event, kind, None)
    return {
        "position": f"{row['partition']}:{row['offset']}:{index}",
        "time": iso(micros(message.time) or 0),
        "kind": kind,
        "task_id": getattr(body, "task_id", ""),
        "map_index": getattr(body, "map_index", -1),
        "text": describe(event),
        "details": message_dict(body) if body is not None else {},
    }
