"""How a DAG's runs and tasks went over time: outcomes by day, durations, landing times.

Everything is counted in SQL, of one DAG, over a bounded part of its history by the index of its runs. A run belongs
to the moment at which it was due (`order_time`: `run_after`, which is the end of the data interval for schedules with
intervals). Landing time is how long after that it ended. Statistics are of successful runs and tasks: what failed or
was marked says nothing about how long the work takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    picked = chosen.select(
        runs.c.order_time, runs.c.queued_time, runs.c.start_time, runs.c.end_time, runs.c.state, runs.c.marked
    ).subquery()
    columns_of = picked.c
    good = sa.select(
        sa.literal("").label("name"),
        (columns_of.start_time - columns_of.queued_time).label("queued"),
        (columns_of.end_time - columns_of.start_time).label("duration"),
        (columns_of.end_time - columns_of.order_time).label("landing"),
    ).where(columns_of.state == "success", sa.not_(columns_of.marked), columns_of.start_time.is_not(None))
    return {
        "dag_id": chosen.dag_id,
        "runs": [_run(row) for row in reversed(rows)],
        **{
            name: _statistics(connection, good.subquery(), name).get("", NO_STATISTICS)
            for name in ("queued", "duration", "landing")
        },
        "next_cursor": following,
    }


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


def _statistics(connection: sa.Connection, source: sa.Subquery, column: str) -> dict[str, dict[str, Any]]:
    """Returns the statistics of a column of microseconds by `name`. The median of an even number is the mean of the
    middle two; p95 is the nearest rank. Ranks, because of our databases only MariaDB knows medians."""
    value = source.c[column]
    ranked = (
        sa.select(
            source.c.name,
            value.label("value"),
            sa.func.row_number().over(partition_by=source.c.name, order_by=value).label("place"),
            sa.func.count().over(partition_by=source.c.name).label("n"),
        )
        .where(value.is_not(None))
        .subquery()
    )
    place, n, found = ranked.c.place, ranked.c.n, ranked.c.value
    query = sa.select(
        ranked.c.name,
        sa.func.count(),
        sa.func.avg(sa.case((sa.and_(place * 2 >= n, place * 2 <= n + 2), found))),
        sa.func.min(sa.case((place * 100 >= n * 95, found))),
        sa.func.max(found),
    ).group_by(ranked.c.name)
    return {
        name: {
            "count": count,
            "median_seconds": float(median) / 1e6,
            "p95_seconds": int(p95) / 1e6,
            "max_seconds": int(longest) / 1e6,
        }
        for name, count, median, p95, longest in connection.execute(query)
    }


def task_durations(connection: sa.Connection, chosen: RunChoice, names: Sequence[str]) -> dict[str, Any]:
    """Returns the shape `TaskDurations`: the tasks named with a point a run, or without names the slowest without."""
    columns = [runs.c[name] for name in ("run_id", "order_time", "counts")]
    found = [dict(row) for row in connection.execute(chosen.select(*columns)).mappings()]
    run_count = len(found) if names else _within_bound(found)
    picked = chosen.select(runs.c.run_id, runs.c.order_time, count=max(1, run_count)).subquery()
    each = _by_run(chosen.dag_id, picked, names)
    points: dict[str, list[Row]] = {name: [] for name in names}
    if names:
        for row in connection.execute(each.order_by(picked.c.order_time, picked.c.run_id)).mappings():
            points[row["name"]].append(dict(row))
    source = each.subquery()
    good = sa.select(source).where(source.c.rank == SEVERITY.index("success"), source.c.marked == 0).subquery()
    durations = _statistics(connection, good, "duration")
    landings = _statistics(connection, good, "landing")
    failed = sa.func.sum(sa.case((source.c.rank == SEVERITY.index("failed"), 1), else_=0))
    counted = sa.select(source.c.name, sa.func.count(), failed).group_by(source.c.name)
    ended = {name: (count, int(bad)) for name, count, bad in connection.execute(counted)}
    shown = list(names) or sorted(ended, key=lambda name: (-(_median(durations, name)), name))[:MAX_TASKS]
    return {
        "dag_id": chosen.dag_id,
        "run_count": run_count,
        "task_count": len(ended),
        "tasks": [
            {
                "task_id": name,
                "run_count": ended.get(name, (0, 0))[0],
                "failed_count": ended.get(name, (0, 0))[1],
                "duration": durations.get(name, NO_STATISTICS),
                "landing": landings.get(name, NO_STATISTICS),
                "points": [_point(row) for row in points.get(name, ())],
            }
            for name in shown
        ],
    }


def _median(durations: Mapping[str, Mapping[str, Any]], name: str) -> float:
    found: float = durations.get(name, NO_STATISTICS)["median_seconds"] or 0.0
    return found


def _within_bound(found: Sequence[Mapping[str, Any]]) -> int:
    """How many of the runs, newest first, have at most MAX_TASK_INSTANCES together; at least one."""
    total = 0
    for n, row in enumerate(found):
        total += sum(count for count in row["counts"].values() if count > 0)
        if total > MAX_TASK_INSTANCES:
            return max(1, n)
    return len(found)


def _by_run(dag_id: str, picked: sa.Subquery, names: Sequence[str]) -> sa.Select[Any]:
    """A row a task and run: the slowest of its instances, the latest end, and the state that stands for all."""
    columns = tasks.c
    ranks = sa.case({state: n for n, state in enumerate(SEVERITY)}, value=columns.state, else_=len(SEVERITY))
    query = (
        sa.select(
            columns.task_id.label("name"),
            picked.c.run_id,
            sa.func.max(columns.end_time - columns.start_time).label("duration"),
            (sa.func.max(columns.end_time) - picked.c.order_time).label("landing"),
            sa.func.min(ranks).label("rank"),
            sa.func.max(sa.case((columns.marked, 1), else_=0)).label("marked"),
            sa.func.count().label("instance_count"),
        )
        .select_from(picked.join(tasks, sa.and_(columns.dag_id == dag_id, columns.run_id == picked.c.run_id)))
        .where(columns.start_time.is_not(None), columns.end_time.is_not(None))
        .group_by(columns.task_id, picked.c.run_id, picked.c.order_time)
    )
    return query.where(columns.task_id.in_(names)) if names else query


def _point(row: Row) -> dict[str, Any]:
    return {
        "run_id": row["run_id"],
        "state": SEVERITY[row["rank"]],
        "duration_seconds": row["duration"] / 1e6,
        "landing_seconds": row["landing"] / 1e6,
        "instance_count": row["instance_count"],
    }
