"""Callbacks of a run: those of the DAG and of its tasks' ends."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.runs import tries
from spinner_webgateway.adapters.views.runs import seconds_between
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.task_rows import CALLBACK
from spinner_webgateway.domain.words import iso


def is_callback(task_id: str) -> bool:
    return task_id == CALLBACK or task_id.startswith(f"{CALLBACK}.")


def of_run(connection: sa.Connection, run: Row) -> list[dict[str, Any]]:
    """Returns `CallbackRun`s of a run, in order of time."""
    columns = tries.c
    query = sa.select(tries).where(
        columns.dag_id == run["dag_id"],
        columns.run_id == run["run_id"],
        columns.task_id >= CALLBACK,
        columns.task_id < f"{CALLBACK}/",
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    rows.sort(key=lambda row: (row["queued_time"] or 0, row["task_id"], row["map_index"], row["try_number"]))
    return [_shape(row) for row in rows]


def _shape(row: Row) -> dict[str, Any]:
    return {
        "task_id": row["task_id"].partition(".")[2],
        "map_index": row["map_index"],
        "number": row["try_number"],
        "log_task_id": row["task_id"],
        "state": row["state"],
        "message": row["message"],
        "queued_time": iso(row["queued_time"]),
        "start_time": iso(row["start_time"]),
        "end_time": iso(row["end_time"]),
        "duration_seconds": seconds_between(row["start_time"], row["end_time"]),
    }


def as_task(connection: sa.Connection, run: Row, task_id: str, map_index: int) -> Row | None:
    """Returns a row like a task instance's for a callback, so that its tries and logs can be shown; None if unknown."""
    columns = tries.c
    query = (
        sa.select(tries)
        .where(
            columns.dag_id == run["dag_id"],
            columns.run_id == run["run_id"],
            columns.task_id == task_id,
            columns.map_index == map_index,
        )
        .order_by(columns.try_number.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "state", "start_time", "end_time")
    taken = {name: row[name] for name in (*names, "executor", "worker", "application_id")}
    return {**taken, "marked": False, "failed_try": 0, "next_time": None, "reason": "", "category": ""}
