"""How a DAG's runs and tasks went over time: outcomes by day, durations, landing times.

Of one DAG, over a bounded part of its history by the index of its runs. A run belongs to the moment at which it was
due (`order_time`: `run_after`, which is the end of the data interval for schedules with intervals). Landing time is how
long after that it ended. Statistics are of successful runs and tasks: what failed or was marked says nothing about how
long the work takes.

The database groups, and gives the times of a group as one text. Of 100 tasks in 1,000 runs MariaDB reads the rows in
0.02 s, but needs 0.25 s to rank them by each order and 0.3 s to send them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.runs import runs, tasks
from spinner_webgateway.adapters.views.paging import decode_cursor, encode_cursor
from spinner_webgateway.adapters.views.runs import older_than, seconds_between
from spinner_webgateway.adapters.views.tasks import SEVERITY
from spinner_webgateway.domain import local_days
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso

MAX_RUNS = 1000
MAX_TASK_INSTANCES = 200_000
"""How many task instances a question about tasks reads at most: with more, it is about fewer runs."""
MAX_TASKS = 500
"""How many tasks an answer lists: the slowest."""
_SUCCESS, _FAILED = SEVERITY.index("success"), SEVERITY.index("failed")
_COLUMNS = ("run_id", "run_type", "state", "marked", "logical_date", "order_time", "queued_time", "start_time")


@dataclass(frozen=True, slots=True)
class RunChoice:
    """Which of a DAG's runs: the latest `count` of some types and states (empty: all), older than the cursor."""

    dag_id: str
    count: int
    run_types: Sequence[str] = ()
    states: Sequence[str] = ()
    cursor: str | None = None

    def select(self, *columns: sa.ColumnElement[Any], count: int | None = None) -> sa.Select[Any]:
        conditions = [runs.c.dag_id == self.dag_id]
        if self.run_types:
            conditions.append(runs.c.run_type.in_(self.run_types))
        if self.states:
            conditions.append(runs.c.state.in_(self.states))
        after = decode_cursor(self.cursor, int, str)
        if after:
            conditions.append(older_than(after[0], self.dag_id, after[1]))
        order = (runs.c.order_time.desc(), runs.c.run_id.desc())
        return sa.select(*columns).where(*conditions).order_by(*order).limit(count or self.count)


def calendar(connection: sa.Connection, dag_id: str, zone: str, first: date, last: date) -> dict[str, Any]:
    """Returns the shape `Calendar`: the days from `first` to `last` in the zone on which a run was due."""
    edges = local_days.boundaries(zone, first, last)
    due = runs.c.order_time
    cases = [
        (due < span.end, due - (due - span.start) % local_days.DAY if span.regular else sa.literal(span.start))
        for span in local_days.spans(edges)
    ]
    begin = sa.case(*cases).label("begin")
    counted = (
        sa.select(begin, runs.c.state, sa.func.count())
        .where(runs.c.dag_id == dag_id, due >= edges[0], due < edges[-1])
        .group_by(begin, runs.c.state)
    )
    counts: dict[int, dict[str, int]] = {}
    for start, state, count in connection.execute(counted):
        counts.setdefault(int(start), {})[state] = count
    days = [
        {
            "date": (first + timedelta(days=n)).isoformat(),
            "start_time": iso(edges[n]),
            "end_time": iso(edges[n + 1]),
            "counts": counts[edges[n]],
        }
        for n in range(len(edges) - 1)
        if edges[n] in counts
    ]
    ends = connection.execute(sa.select(sa.func.min(due), sa.func.max(due)).where(runs.c.dag_id == dag_id)).one()
    known = [None if end is None else local_days.day_of(zone, end).isoformat() for end in ends]
    return {
        "dag_id": dag_id,
        "timezone": zone,
        "from_date": first.isoformat(),
        "to_date": last.isoformat(),
        "days": days,
        "first_run_date": known[0],
        "last_run_date": known[1],
    }


def run_durations(connection: sa.Connection, chosen: RunChoice) -> dict[str, Any]:
    """Returns the shape `RunDurations`, oldest first."""
    columns = [runs.c[name] for name in (*_COLUMNS, "end_time")]
    rows = [dict(row) for row in connection.execute(chosen.select(*columns, count=chosen.count + 1)).mappings()]
    following = None
    if len(rows) > chosen.count:
        rows.pop()
        following = encode_cursor(rows[-1]["order_time"], rows[-1]["run_id"])
    good = [row for row in rows if row["state"] == "success" and not row["marked"] and row["start_time"] is not None]
    return {
        "dag_id": chosen.dag_id,
        "runs": [_run(row) for row in reversed(rows)],
        "queued": _between(good, "queued_time", "start_time"),
        "duration": _between(good, "start_time", "end_time"),
        "landing": _between(good, "order_time", "end_time"),
        "next_cursor": following,
    }


def _between(rows: Sequence[Row], start: str, end: str) -> dict[str, Any]:
    return _statistics([row[end] - row[start] for row in rows if row[start] is not None and row[end] is not None])


def _run(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": row["run_id"],
        "run_type": row["run_type"],
        "state": row["state"],
        "marked": bool(row["marked"]),
        "logical_date": iso(row["logical_date"]),
        "due_time": iso(row["order_time"]),
        "queued_time": iso(row["queued_time"]),
        "start_time": iso(row["start_time"]),
        "end_time": iso(row["end_time"]),
        "queued_seconds": seconds_between(row["queued_time"], row["start_time"]),
        "duration_seconds": seconds_between(row["start_time"], row["end_time"]),
        "landing_seconds": _signed_seconds(row["order_time"], row["end_time"]),
    }


def _signed_seconds(start: int | None, end: int | None) -> float | None:
    """A run that was triggered for a time to come may land before it."""
    return None if start is None or end is None else (end - start) / 1e6


NO_STATISTICS: dict[str, Any] = {"count": 0, "median_seconds": None, "p95_seconds": None, "max_seconds": None}


def _statistics(micros: Iterable[int]) -> dict[str, Any]:
    """Returns the shape `Statistics` of microseconds. The median of an even number is the mean of the middle two; p95
    is the nearest rank."""
    ranked = sorted(micros)
    if not ranked:
        return NO_STATISTICS
    count = len(ranked)
    return {
        "count": count,
        "median_seconds": (ranked[(count - 1) // 2] + ranked[count // 2]) / 2e6,
        "p95_seconds": ranked[-(-count * 95 // 100) - 1] / 1e6,
        "max_seconds": ranked[-1] / 1e6,
    }


def task_durations(connection: sa.Connection, chosen: RunChoice, names: Sequence[str]) -> dict[str, Any]:
    """Returns the shape `TaskDurations`: the tasks named with a point a run, or without names the slowest without."""
    columns = [runs.c[name] for name in ("run_id", "order_time", "counts")]
    found = [dict(row) for row in connection.execute(chosen.select(*columns)).mappings()]
    run_count = len(found) if names else _within_bound(found)
    picked = chosen.select(runs.c.run_id, runs.c.order_time, count=max(1, run_count)).subquery()
    each = _named(connection, chosen.dag_id, picked, names) if names else _all(connection, chosen.dag_id, picked)
    shown = list(names) or sorted(each, key=lambda name: (-(each[name]["duration"]["median_seconds"] or 0), name))
    return {
        "dag_id": chosen.dag_id,
        "run_count": run_count,
        "task_count": sum(task["run_count"] > 0 for task in each.values()),
        "tasks": [each[name] for name in (shown if names else shown[:MAX_TASKS])],
    }


def _task(
    name: str, counts: tuple[int, int], durations: list[int], landings: list[int], points: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "task_id": name,
        "run_count": counts[0],
        "failed_count": counts[1],
        "duration": _statistics(durations),
        "landing": _statistics(landings),
        "points": points,
    }


def _named(connection: sa.Connection, dag_id: str, picked: sa.Subquery, names: Sequence[str]) -> dict[str, Row]:
    rows: dict[str, list[Row]] = {name: [] for name in names}
    query = _by_run(dag_id, picked, names).order_by(picked.c.order_time, picked.c.run_id)
    for row in connection.execute(query).mappings():
        rows[row["name"]].append(dict(row))
    tasks_of = {}
    for name, mine in rows.items():
        good = [row for row in mine if row["rank"] == _SUCCESS and not row["marked"]]
        counts = (len(mine), sum(row["rank"] == _FAILED for row in mine))
        durations, landings = ([row[what] for row in good] for what in ("duration", "landing"))
        tasks_of[name] = _task(name, counts, durations, landings, [_point(row) for row in mine])
    return tasks_of


def _all(connection: sa.Connection, dag_id: str, picked: sa.Subquery) -> dict[str, Row]:
    """A task that has no mapped instances has a row a run already; only of others each run's must be grouped first."""
    columns = tasks.c
    good = sa.and_(columns.state == "success", sa.not_(columns.marked), columns.map_index < 0)
    plain = _ended(
        dag_id,
        picked,
        columns.task_id,
        sa.func.count(),
        sa.func.sum(sa.case((columns.state == "failed", 1), else_=0)),
        sa.func.group_concat(sa.case((good, columns.end_time - columns.start_time))),
        sa.func.group_concat(sa.case((good, columns.end_time - picked.c.order_time))),
        sa.func.max(columns.map_index),
    ).group_by(columns.task_id)
    tasks_of, mapped = {}, []
    for name, count, failed, durations, landings, last_index in connection.execute(plain):
        if last_index < 0:
            tasks_of[name] = _task(name, (count, int(failed)), _numbers(durations), _numbers(landings), [])
        else:
            mapped.append(name)
    if mapped:
        source = _by_run(dag_id, picked, mapped).subquery()
        good = sa.and_(source.c.rank == _SUCCESS, source.c.marked == 0)
        grouped = sa.select(
            source.c.name,
            sa.func.count(),
            sa.func.sum(sa.case((source.c.rank == _FAILED, 1), else_=0)),
            sa.func.group_concat(sa.case((good, source.c.duration))),
            sa.func.group_concat(sa.case((good, source.c.landing))),
        ).group_by(source.c.name)
        for name, count, failed, durations, landings in connection.execute(grouped):
            tasks_of[name] = _task(name, (count, int(failed)), _numbers(durations), _numbers(landings), [])
    return tasks_of


def _numbers(text: str | None) -> list[int]:
    return [int(part) for part in text.split(",")] if text else []


def _within_bound(found: Sequence[Mapping[str, Any]]) -> int:
    """How many of the runs, newest first, have at most MAX_TASK_INSTANCES together; at least one."""
    total = 0
    for n, row in enumerate(found):
        total += sum(count for count in row["counts"].values() if count > 0)
        if total > MAX_TASK_INSTANCES:
            return max(1, n)
    return len(found)


def _ended(dag_id: str, picked: sa.Subquery, *columns: Any) -> sa.Select[Any]:
    """Columns of the task instances of the runs that have ended."""
    joined = picked.join(tasks, sa.and_(tasks.c.dag_id == dag_id, tasks.c.run_id == picked.c.run_id))
    return sa.select(*columns).select_from(joined).where(tasks.c.start_time.is_not(None), tasks.c.end_time.is_not(None))


def _by_run(dag_id: str, picked: sa.Subquery, names: Sequence[str]) -> sa.Select[Any]:
    """A row a task and run: the slowest of its instances, the latest end, and the state that stands for all."""
    columns = tasks.c
    ranks = sa.case({state: n for n, state in enumerate(SEVERITY)}, value=columns.state, else_=len(SEVERITY))
    return (
        _ended(
            dag_id,
            picked,
            columns.task_id.label("name"),
            picked.c.run_id,
            sa.func.max(columns.end_time - columns.start_time).label("duration"),
            (sa.func.max(columns.end_time) - picked.c.order_time).label("landing"),
            sa.func.min(ranks).label("rank"),
            sa.func.max(sa.case((columns.marked, 1), else_=0)).label("marked"),
            sa.func.count().label("instance_count"),
        )
        .where(columns.task_id.in_(names))
        .group_by(columns.task_id, picked.c.run_id, picked.c.order_time)
    )


def _point(row: Row) -> dict[str, Any]:
    return {
        "run_id": row["run_id"],
        "state": SEVERITY[row["rank"]],
        "duration_seconds": row["duration"] / 1e6,
        "landing_seconds": row["landing"] / 1e6,
        "instance_count": row["instance_count"],
    }
