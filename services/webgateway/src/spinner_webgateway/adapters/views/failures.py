"""Failures of one cause, in whatever DAG: those whose diagnoses have the same fingerprint."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.runs import diagnoses
from spinner_webgateway.adapters.views.paging import encode_cursor, offset_of, page
from spinner_webgateway.domain.words import iso

_COLUMNS = ("dag_id", "run_id", "task_id", "map_index", "try_number", "category", "title", "owner", "stage")
_MOST_COUNTED = 1001


def listing(connection: sa.Connection, fingerprint: str, dag_id: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `Failure`, newest first; of one DAG, or with `dag_id` "" of all."""
    columns = diagnoses.c
    conditions = [columns.fingerprint == fingerprint]
    if dag_id:
        conditions.append(columns.dag_id == dag_id)
    total = connection.execute(sa.select(sa.func.count()).select_from(diagnoses).where(*conditions)).scalar_one()
    start = offset_of(cursor)
    order = [columns[name].desc() for name in ("time", "dag_id", "run_id", "task_id", "map_index", "try_number")]
    found = connection.execute(
        sa.select(*(columns[name] for name in _COLUMNS), columns.time)
        .where(*conditions)
        .order_by(*order)
        .limit(limit)
        .offset(start)
    ).mappings()
    items = [{**{name: row[name] for name in _COLUMNS}, "time": iso(row["time"])} for row in found]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def similar_count(connection: sa.Connection, fingerprint: str) -> int:
    """Returns how many others have this fingerprint, at most 1,000."""
    if not fingerprint:
        return 0
    same = sa.select(sa.literal(1)).where(diagnoses.c.fingerprint == fingerprint).limit(_MOST_COUNTED).subquery()
    found: int = connection.execute(sa.select(sa.func.count()).select_from(same)).scalar_one()
    return found - 1
