"""Task instances of a run: those with rows, and those that wait without one.

The order is the layout's; instances of a mapped task follow their task by map index; rows of tasks that the layout
no longer has come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.runs import diagnoses, tasks, tries
from spinner_webgateway.adapters.views import callbacks, failures
from spinner_webgateway.adapters.views.paging import encode_cursor, offset_of, page
from spinner_webgateway.adapters.views.runs import seconds_between
from spinner_webgateway.domain.layout import DefinitionGraph, json_object
from spinner_webgateway.domain.new_rows import new_task
from spinner_webgateway.domain.problems import task_not_found
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso

SEVERITY = (
    "failed",
    "upstream_failed",
    "up_for_retry",
    "running",
    "restarting",
    "deferred",
    "up_for_reschedule",
    "queued",
    "scheduled",
    "none",
    "success",
    "skipped",
    "removed",
)
"""Which state stands for a mapped task as a whole: the first that any instance has."""


def _query() -> sa.Select[Any]:
    joined = sa.and_(
        diagnoses.c.dag_id == tasks.c.dag_id,
        diagnoses.c.run_id == tasks.c.run_id,
        diagnoses.c.task_id == tasks.c.task_id,
        diagnoses.c.map_index == tasks.c.map_index,
        diagnoses.c.try_number == tasks.c.failed_try,
    )
    return sa.select(tasks, sa.func.coalesce(diagnoses.c.category, "").label("category")).select_from(
        tasks.outerjoin(diagnoses, joined)
    )


def instance(row: Row, graph: DefinitionGraph | None) -> dict[str, Any]:
    """Returns the shape `TaskInstance`."""
    return {
        "dag_id": row["dag_id"],
        "run_id": row["run_id"],
        "task_id": row["task_id"],
        "map_index": row["map_index"],
        "state": row["state"],
        "marked": bool(row["marked"]),
        "try_number": row["try_number"],
        "operator": graph.operator(row["task_id"]) if graph else "",
        "pool": graph.pool(row["task_id"]) if graph else "",
        "start_time": iso(row["start_time"]),
        "end_time": iso(row["end_time"]),
        "duration_seconds": seconds_between(row["start_time"], row["end_time"]),
        "next_time": iso(row["next_time"]),
        "reason": row["reason"],
        "worker": row["worker"],
        "application_id": row["application_id"],
        "category": row.get("category", ""),
    }


def map_indexes(run: Row, task_id: str) -> Sequence[int]:
    length = run["expansions"].get(task_id, 0)
    return range(length) if length > 0 else (-1,)


def enumerate_instances(run: Row, graph: DefinitionGraph) -> Iterator[tuple[str, int]]:
    """Yields every task instance that the run's layout has, in order."""
    for task_id in graph.task_ids:
        for map_index in map_indexes(run, task_id):
            yield task_id, map_index


def listing(
    connection: sa.Connection,
    run: Row,
    graph: DefinitionGraph | None,
    states: Sequence[str],
    task_id: str | None,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Returns a page of `TaskInstance`. An unfiltered page reads only its own rows."""
    start = offset_of(cursor)
    if graph is not None and not states and not task_id:
        return _window(connection, run, graph, start, limit)
    rows = _rows(connection, run, states if "none" not in states else (), [task_id] if task_id else None)
    if graph is not None and (not states or "none" in states):
        known = {(row["task_id"], row["map_index"]) for row in rows}
        chosen = [task_id] if task_id else graph.task_ids
        rows += [
            new_task(run["dag_id"], run["run_id"], name, index)
            for name in chosen
            if name in graph.index
            for index in map_indexes(run, name)
            if (name, index) not in known
        ]
    if states:
        rows = [row for row in rows if row["state"] in states]
    _sort(rows, graph)
    return _page(rows[start : start + limit], len(rows), start + limit, graph)


def _window(connection: sa.Connection, run: Row, graph: DefinitionGraph, start: int, limit: int) -> dict[str, Any]:
    wanted = list(enumerate_instances(run, graph))
    window = wanted[start : start + limit]
    names = list(dict.fromkeys(name for name, _ in window))
    found = {(row["task_id"], row["map_index"]): row for row in _rows(connection, run, (), names)}
    rows = [found.get(at) or new_task(run["dag_id"], run["run_id"], *at) for at in window]
    strays: list[Row] = []
    if start + limit >= len(wanted):
        strays = [
            row
            for row in _rows(connection, run, (), None)
            if row["map_index"] not in map_indexes(run, row["task_id"]) or row["task_id"] not in graph.index
        ]
        _sort(strays, graph)
        rows += strays
    return _page(rows, len(wanted) + len(strays), start + limit if start + limit < len(wanted) else None, graph)


def _page(rows: list[Row], total: int, following: int | None, graph: DefinitionGraph | None) -> dict[str, Any]:
    more = following is not None and following < total
    return page([instance(row, graph) for row in rows], total, encode_cursor(following) if more else None)


def _rows(connection: sa.Connection, run: Row, states: Sequence[str], names: list[str] | None) -> list[Row]:
    query = _query().where(tasks.c.dag_id == run["dag_id"], tasks.c.run_id == run["run_id"])
    if states:
        query = query.where(tasks.c.state.in_(states))
    if names is not None:
        query = query.where(tasks.c.task_id.in_(names))
    return [dict(row) for row in connection.execute(query).mappings()]


def _sort(rows: list[Row], graph: DefinitionGraph | None) -> None:
    index = graph.index if graph else {}
    rows.sort(key=lambda row: (index.get(row["task_id"], len(index)), row["task_id"], row["map_index"]))


def all_rows(connection: sa.Connection, run: Row, names: list[str] | None = None) -> list[Row]:
    """Returns the rows that the run has, of some tasks or of all."""
    return _rows(connection, run, (), names)


def find(connection: sa.Connection, run: Row, graph: DefinitionGraph | None, task_id: str, map_index: int) -> Row:
    """Returns the instance's row, an empty one while nothing happened to it; raises the 404 problem."""
    query = _query().where(
        tasks.c.dag_id == run["dag_id"],
        tasks.c.run_id == run["run_id"],
        tasks.c.task_id == task_id,
        tasks.c.map_index == map_index,
    )
    row = connection.execute(query).mappings().first()
    if row is not None:
        return dict(row)
    if callbacks.is_callback(task_id) and (called := callbacks.as_task(connection, run, task_id, map_index)):
        return called
    if graph is not None and task_id in graph.index and map_index in map_indexes(run, task_id):
        return new_task(run["dag_id"], run["run_id"], task_id, map_index)
    raise task_not_found(run["dag_id"], run["run_id"], task_id, map_index)


def upstream_states(connection: sa.Connection, run: Row, graph: DefinitionGraph, task_id: str) -> dict[str, str]:
    """Returns the state of each task directly above, mapped ones as a whole."""
    above = graph.upstream.get(task_id, [])
    if not above:
        return {}
    counted: dict[str, dict[str, int]] = {name: {} for name in above}
    columns = tasks.c
    found = connection.execute(
        sa.select(columns.task_id, columns.state, sa.func.count())
        .where(columns.dag_id == run["dag_id"], columns.run_id == run["run_id"], columns.task_id.in_(above))
        .group_by(columns.task_id, columns.state)
    )
    for name, state, count in found:
        counted[name][state] = count
    return {name: overall(with_waiting(counts, len(map_indexes(run, name)))) for name, counts in counted.items()}


def with_waiting(counts: dict[str, int], length: int) -> dict[str, int]:
    """Adds the instances without a row."""
    waiting = length - sum(count for state, count in counts.items() if state != "removed")
    return {**counts, "none": counts.get("none", 0) + waiting} if waiting > 0 else counts


def overall(counts: dict[str, int]) -> str:
    """Returns the state that stands for several instances."""
    return next((state for state in SEVERITY if counts.get(state)), "none")


def try_rows(connection: sa.Connection, task: Row, number: int | None = None) -> list[Row]:
    """Returns the tries of a task instance, oldest first."""
    columns = tries.c
    query = sa.select(tries).where(
        columns.dag_id == task["dag_id"],
        columns.run_id == task["run_id"],
        columns.task_id == task["task_id"],
        columns.map_index == task["map_index"],
    )
    if number is not None:
        query = query.where(columns.try_number == number)
    return [dict(row) for row in connection.execute(query.order_by(columns.try_number)).mappings()]


def diagnoses_of(connection: sa.Connection, task: Row) -> dict[int, dict[str, Any]]:
    """Returns the diagnosis of each failed try by its number."""
    columns = diagnoses.c
    found = connection.execute(
        sa.select(diagnoses).where(
            columns.dag_id == task["dag_id"],
            columns.run_id == task["run_id"],
            columns.task_id == task["task_id"],
            columns.map_index == task["map_index"],
        )
    ).mappings()
    result = {}
    for row in found:
        result[row["try_number"]] = {
            "category": row["category"],
            "title": row["title"],
            "owner": row["owner"],
            "confidence": row["confidence"],
            "stage": row["stage"],
            "evidence": row["evidence"],
            "how_to_fix": row["how_to_fix"],
            "fingerprint": row["fingerprint"],
            "similar_count": failures.similar_count(connection, row["fingerprint"]),
        }
    return result


def attempt(row: Row, diagnosis: dict[str, Any] | None, rendered: bytes) -> dict[str, Any]:
    """Returns the shape `Try`."""
    return {
        "try_number": row["try_number"],
        "state": row["state"],
        "outcome": row["outcome"],
        "message": row["message"],
        "exit_code": row["exit_code"],
        "start_time": iso(row["start_time"]),
        "end_time": iso(row["end_time"]),
        "duration_seconds": seconds_between(row["start_time"], row["end_time"]),
        "stages": _stages(row, diagnosis),
        "peak_memory_bytes": row["peak_memory_bytes"],
        "read_bytes": row["read_bytes"],
        "written_bytes": row["written_bytes"],
        "cpu_seconds": row["cpu_seconds"],
        "memory_request_bytes": row["memory_request_bytes"],
        "memory_limit_bytes": row["memory_limit_bytes"],
        "memory_source": row["memory_source"] or "",
        "log_bytes": row["log_bytes"],
        "worker": row["worker"],
        "rendered": json_object(rendered),
        "diagnosis": diagnosis,
    }


def _stages(row: Row, diagnosis: dict[str, Any] | None) -> list[dict[str, Any]]:
    stages = [dict(stage) for stage in row["stages"]]
    if row["queued_time"] is not None and not any(stage["name"] == "QueueStage" for stage in stages):
        ends = [stage["start_time"] for stage in stages if stage["start_time"]] or [row["start_time"]]
        queue = {"name": "QueueStage", "start_time": row["queued_time"], "end_time": ends[0], "message": ""}
        stages.insert(0, {**queue, "outcome": "success" if ends[0] else "running"})
    if row["state"] == "running" and not row["stages"]:
        running = {"name": "TaskExecStage", "start_time": row["start_time"], "end_time": None, "message": ""}
        stages.append({**running, "outcome": "running"})
    return [
        {
            **stage,
            "start_time": iso(stage["start_time"]),
            "end_time": iso(stage["end_time"]),
            "seconds": seconds_between(stage["start_time"], stage["end_time"]),
            "category": diagnosis["category"] if diagnosis and diagnosis["stage"] == stage["name"] else "",
        }
        for stage in stages
    ]
