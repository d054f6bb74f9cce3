"""Backfills, how far they are, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from spinner_proto.events.v1 import events_pb2

from spinner_webgateway.adapters.tables.backfills import backfill_intervals, backfills
from spinner_webgateway.adapters.tables.runs import runs
from spinner_webgateway.adapters.views.paging import decode_cursor, encode_cursor, offset_of, page
from spinner_webgateway.domain.backfill_rows import interval_row
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso

RUN_STATES = ("queued", "running", "success", "failed")


def find(connection: sa.Connection, dag_id: str, backfill_id: str) -> dict[str, Any]:
    """Returns the shape `Backfill`; raises the 404 problem."""
    row = (
        connection.execute(
            sa.select(backfills).where(backfills.c.dag_id == dag_id, backfills.c.backfill_id == backfill_id)
        )
        .mappings()
        .first()
    )
    if row is None:
        raise ProblemError(
            404,
            "BACKFILL_NOT_FOUND",
            f"DAG {dag_id!r} has no backfill {backfill_id[:250]!r}.",
            f"See its backfills: spinner backfill list --dag {dag_id}.",
        )
    return _with_progress(connection, [dict(row)])[0]


def listing(
    connection: sa.Connection, dag_id: str, states: Sequence[str], limit: int, cursor: str | None
) -> dict[str, Any]:
    """Returns a page of `Backfill`, newest first."""
    columns = backfills.c
    conditions: list[sa.ColumnElement[bool]] = []
    if dag_id:
        conditions.append(columns.dag_id == dag_id)
    if states:
        conditions.append(columns.state.in_(states))
    total = connection.execute(sa.select(sa.func.count()).select_from(backfills).where(*conditions)).scalar_one()
    after = decode_cursor(cursor, int, str, str)
    if after:
        place = sa.tuple_(columns.created_time, columns.dag_id, columns.backfill_id)
        conditions.append(place < sa.tuple_(*(sa.literal(part) for part in after)))
    order = (columns.created_time.desc(), columns.dag_id.desc(), columns.backfill_id.desc())
    found = connection.execute(sa.select(backfills).where(*conditions).order_by(*order).limit(limit + 1)).mappings()
    rows = [dict(row) for row in found]
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = encode_cursor(last["created_time"], last["dag_id"], last["backfill_id"])
    return page(_with_progress(connection, rows[:limit]), total, following)


def _with_progress(connection: sa.Connection, rows: list[Row]) -> list[dict[str, Any]]:
    """Adds how many runs are in which state. An interval counts once, by what its run is now."""
    taken = backfill_intervals.c
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        key = (row["dag_id"], row["backfill_id"])
        found = connection.execute(
            sa.select(runs.c.state, sa.func.count())
            .select_from(
                backfill_intervals.join(runs, sa.and_(runs.c.dag_id == taken.dag_id, runs.c.run_id == taken.run_id))
            )
            .where(taken.dag_id == key[0], taken.backfill_id == key[1], taken.action != "skip")
            .group_by(runs.c.state)
        )
        counts[key] = {row.state: row[1] for row in found}
    return [_shape(row, counts[row["dag_id"], row["backfill_id"]]) for row in rows]


def _shape(row: Row, counts: dict[str, int]) -> dict[str, Any]:
    names = (
        "dag_id", "backfill_id", "state", "reason", "run_order", "reprocess_behavior", "max_active_runs", "task_ids",
        "pool", "note", "version", "actor", "interval_count", "taken_count", "skip_count",
    )  # fmt: skip
    return {
        **{name: row[name] for name in names},
        "skip_callbacks": bool(row["skip_callbacks"]),
        "from_date": iso(row["from_date"]),
        "to_date": iso(row["to_date"]),
        "created_time": iso(row["created_time"]),
        "end_time": iso(row["end_time"]),
        "run_counts": {state: counts[state] for state in RUN_STATES if counts.get(state)},
    }


def intervals(
    connection: sa.Connection, dag_id: str, backfill_id: str, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Returns a page of `BackfillInterval` that were taken up, by date, with the state of their runs."""
    find(connection, dag_id, backfill_id)
    taken = backfill_intervals.c
    where = (taken.dag_id == dag_id, taken.backfill_id == backfill_id)
    total = connection.execute(sa.select(sa.func.count()).select_from(backfill_intervals).where(*where)).scalar_one()
    start = offset_of(cursor)
    joined = backfill_intervals.outerjoin(runs, sa.and_(runs.c.dag_id == taken.dag_id, runs.c.run_id == taken.run_id))
    found = connection.execute(
        sa.select(backfill_intervals, runs.c.state.label("run_state"))
        .select_from(joined)
        .where(*where)
        .order_by(taken.logical_date)
        .limit(limit)
        .offset(start)
    ).mappings()
    items = [interval_shape(dict(row)) for row in found]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def interval_shape(row: Row) -> dict[str, Any]:
    return {
        "logical_date": iso(row["logical_date"]),
        "data_interval_start": iso(row["data_interval_start"]),
        "data_interval_end": iso(row["data_interval_end"]),
        "action": row["action"],
        "run_id": row["run_id"],
        "reason": row["reason"],
        "run_state": row.get("run_state"),
    }


def plan_shape(plan: events_pb2.BackfillPlan) -> dict[str, Any]:
    """Returns the shape `BackfillPlan`."""
    return {
        "interval_count": plan.interval_count,
        "create_count": plan.create_count,
        "reprocess_count": plan.reprocess_count,
        "skip_count": plan.skip_count,
        "version": plan.version,
        "task_count": plan.task_count,
        "intervals": [interval_shape(interval_row(interval)) for interval in plan.intervals],
    }


def ended_runs(connection: sa.Connection, dag_id: str, first: int, last: int, limit: int) -> list[tuple[int, str]]:
    """Returns logical date and state of the DAG's runs of a range that have ended, at most `limit`."""
    found = connection.execute(
        sa.select(runs.c.logical_date, runs.c.state)
        .where(
            runs.c.dag_id == dag_id,
            runs.c.logical_date >= first,
            runs.c.logical_date <= last,
            runs.c.state.in_(("success", "failed")),
        )
        .order_by(runs.c.logical_date, runs.c.order_time)
        .limit(limit)
    )
    return [(row.logical_date, row.state) for row in found]
