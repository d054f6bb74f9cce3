"""What tasks ask people: waiting, decided, timed out, closed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.runs import decisions, tasks
from spinner_webgateway.adapters.views.paging import encode_cursor, offset_of, page
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso

_WAITS: sa.ColumnElement[bool] = sa.and_(
    decisions.c.state == "waiting",
    tasks.c.state == "deferred",
    tasks.c.try_number == decisions.c.try_number,
)
_STATE = sa.case((_WAITS, "waiting"), (decisions.c.state == "waiting", "closed"), else_=decisions.c.state)
_JOINED = decisions.outerjoin(
    tasks,
    sa.and_(
        tasks.c.dag_id == decisions.c.dag_id,
        tasks.c.run_id == decisions.c.run_id,
        tasks.c.task_id == decisions.c.task_id,
        tasks.c.map_index == decisions.c.map_index,
    ),
)
_QUERY = sa.select(decisions, _STATE.label("now")).select_from(_JOINED)


def listing(connection: sa.Connection, dag_id: str, state: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `Decision`, those that wait longest first, others newest first; state "" is all."""
    conditions: list[sa.ColumnElement[bool]] = []
    if dag_id:
        conditions.append(decisions.c.dag_id == dag_id)
    if state:
        conditions.append(_WAITS if state == "waiting" else _STATE.in_([state]))
    total = connection.execute(sa.select(sa.func.count()).select_from(_JOINED).where(*conditions)).scalar_one()
    start = offset_of(cursor)
    at = decisions.c.requested_time
    order = (at if state == "waiting" else at.desc(), decisions.c.dag_id, decisions.c.run_id, decisions.c.task_id)
    found = connection.execute(_QUERY.where(*conditions).order_by(*order).limit(limit).offset(start)).mappings()
    items = [shape(dict(row)) for row in found]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def find(connection: sa.Connection, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """Returns the latest request of a task instance; raises the 404 problem."""
    columns = decisions.c
    row = (
        connection.execute(
            _QUERY.where(
                columns.dag_id == dag_id,
                columns.run_id == run_id,
                columns.task_id == task_id,
                columns.map_index == map_index,
            )
            .order_by(columns.try_number.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    if row is None:
        raise ProblemError(
            404,
            "DECISION_NOT_FOUND",
            f"Task {dag_id}/{run_id}/{task_id}/{map_index} has asked nobody for a decision.",
            "See what waits: spinner decisions list.",
        )
    return shape(dict(row))


def shape(row: Row) -> dict[str, Any]:
    names = (
        "dag_id", "run_id", "task_id", "map_index", "try_number", "kind", "subject", "body", "options", "defaults",
        "params", "assignees", "chosen_options", "params_input", "decided_by", "note",
    )  # fmt: skip
    return {
        **{name: row[name] for name in names},
        "state": row["now"],
        "multiple": bool(row["multiple"]),
        "requested_time": iso(row["requested_time"]),
        "deadline": iso(row["deadline"]),
        "decided_time": iso(row["decided_time"]),
    }
