"""Assets, their events and lineage; deadlines of runs."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import orjson
import sqlalchemy as sa

from spinner_webgateway.adapters.tables.assets import (
    asset_events,
    asset_partitions,
    asset_runs,
    asset_stales,
    asset_watchers,
    assets,
)
from spinner_webgateway.adapters.tables.dags import dags, definitions
from spinner_webgateway.adapters.tables.runs import deadlines, tries
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.adapters.views.paging import encode_cursor, offset_of, page, slice_page
from spinner_webgateway.domain.asset_rows import Lineage, asset_key, unnamed_asset, watcher_try
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso


def _all(connection: sa.Connection, known: Definitions) -> list[dict[str, Any]]:
    lineage = Lineage()
    current = sa.and_(definitions.c.dag_id == dags.c.dag_id, definitions.c.version == dags.c.version)
    users = connection.execute(
        sa.select(dags.c.dag_id, dags.c.version)
        .join(definitions, current)
        .where(definitions.c.uses_assets, sa.not_(dags.c.removed))
        .order_by(dags.c.dag_id)
    )
    for dag_id, version in users:
        graph = known.get(dag_id, version)
        if graph is not None:
            lineage.add(graph.definition)
    updates = {row["name"]: dict(row) for row in connection.execute(sa.select(assets)).mappings()}
    found = [_shape(alias, name, entry, updates.pop(name, None)) for (alias, name), entry in lineage.assets.items()]
    found += [_shape(False, name, unnamed_asset(), row) for name, row in updates.items()]
    watchers, callbacks = _watchers(connection), _callbacks(connection)
    for asset in found:
        key = "" if asset["alias"] else asset_key(asset["name"])
        asset["watchers"], asset["stale_callback"] = watchers.get(key, []), callbacks.get(key)
    return sorted(found, key=lambda asset: (asset["name"], asset["alias"]))


def _shape(alias: bool, name: str, entry: dict[str, Any], row: Row | None) -> dict[str, Any]:
    seconds = entry["freshness"]
    until = row["last_time"] + int(seconds * 1_000_000) if row and seconds is not None else None
    return {
        "name": name,
        "alias": alias,
        "uri": entry["uri"] or ("" if alias else name),
        "group": entry["group"],
        "extra": _extra(entry["extra_json"]),
        "producers": entry["producers"],
        "readers": entry["readers"],
        "consumers": entry["consumers"],
        "update_count": row["update_count"] if row else 0,
        "last_update_time": iso(row["last_time"]) if row else None,
        "freshness_seconds": seconds,
        "fresh_until": iso(until),
        "stale": seconds is not None and (until is None or until < time.time_ns() // 1000),
    }


def _extra(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}


def listing(
    connection: sa.Connection, known: Definitions, query: str, limit: int, cursor: str | None, stale: bool = False
) -> dict[str, Any]:
    """Returns a page of assets and aliases by name, with who makes, reads and waits for each.

    `stale`: only those whose freshness is over, or that were never updated though they are to be fresh.
    """
    wanted = query.lower()
    found = [
        asset
        for asset in _all(connection, known)
        if wanted in f"{asset['name']} {asset['uri']}".lower() and (asset["stale"] or not stale)
    ]
    return slice_page(found, limit, cursor)


def details(connection: sa.Connection, known: Definitions, name: str) -> dict[str, Any]:
    """Returns one asset, before an alias of its name. Raises the 404 problem."""
    for asset in _all(connection, known):
        if asset["name"] == name:
            return asset
    raise ProblemError(
        404,
        "ASSET_NOT_FOUND",
        f"There is no asset {name[:200]!r}: no DAG names it, and it was never updated.",
        "See the list of assets; names are compared letter by letter.",
    )


def _watchers(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Returns watchers by their asset's key."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    names = ("name", "trigger_class", "state", "event_count", "last_error", "executor")
    for row in connection.execute(sa.select(asset_watchers).order_by(asset_watchers.c.name)).mappings():
        times = {name: iso(row[name]) for name in ("last_event_time", "last_error_time")}
        found[row["asset_key"]].append({**{name: row[name] for name in names}, **times})
    return found


def _callbacks(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """Returns the latest call of the callback of each asset that was no longer fresh, by the asset's key."""
    same = sa.and_(tries.c.dag_id == asset_stales.c.dag_id, tries.c.run_id == asset_stales.c.run_id)
    calls = connection.execute(
        sa.select(asset_stales, tries.c.state, tries.c.message).join(tries, same, isouter=True)
    ).mappings()
    return {
        row["asset_key"]: {
            "dag_id": row["dag_id"],
            "stale_time": iso(row["stale_time"]),
            "state": row["state"] or "queued",
            "message": row["message"] or "",
        }
        for row in calls
        if row["dag_id"]
    }


def log_row(connection: sa.Connection, name: str, watcher: str) -> Row:
    """Returns the try whose log is asked for: a watcher's, or the latest stale callback's. Raises the 404 problem."""
    key = asset_key(name)
    if watcher:
        kept = sa.and_(asset_watchers.c.asset_key == key, asset_watchers.c.name == watcher)
        row = connection.execute(sa.select(asset_watchers).where(kept)).mappings().first()
        if row is not None:
            return watcher_try(name, dict(row))
    else:
        same = sa.and_(tries.c.dag_id == asset_stales.c.dag_id, tries.c.run_id == asset_stales.c.run_id)
        found = sa.select(tries).join(asset_stales, same).where(asset_stales.c.asset_key == key)
        row = connection.execute(found).mappings().first()
        if row is not None:
            return dict(row)
    what = f"watcher {watcher[:200]!r}" if watcher else "callback that was called"
    raise ProblemError(
        404, "ASSET_LOG_NOT_FOUND", f"Asset {name[:200]!r} has no {what}.", "See the asset for what it has."
    )


def partitions(connection: sa.Connection, name: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of an asset's partitions, with the latest update of each, latest first."""
    key = asset_key(name)
    columns = asset_partitions.c
    mine = columns.asset_key == key
    total = connection.execute(sa.select(sa.func.count()).select_from(asset_partitions).where(mine)).scalar_one()
    start = offset_of(cursor)
    rows = connection.execute(
        sa.select(columns.partition_key, columns.sequence)
        .where(mine)
        .order_by(columns.time.desc(), columns.sequence.desc())
        .limit(limit)
        .offset(start)
    ).all()
    known = {update["sequence"]: update for update in _updates(connection, name, [row[1] for row in rows])}
    items = [{"partition_key": row[0], "update": known[row[1]]} for row in rows]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def events(connection: sa.Connection, name: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of an asset's events, latest first, with the runs that each was part of."""
    key = asset_key(name)
    mine = asset_events.c.asset_key == key
    total = connection.execute(sa.select(sa.func.count()).select_from(asset_events).where(mine)).scalar_one()
    start = offset_of(cursor)
    wanted = connection.execute(
        sa.select(asset_events.c.sequence)
        .where(mine)
        .order_by(asset_events.c.sequence.desc())
        .limit(limit)
        .offset(start)
    ).scalars()
    items = _updates(connection, name, list(wanted))
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def _updates(connection: sa.Connection, name: str, sequences: list[int]) -> list[dict[str, Any]]:
    """Returns these updates of an asset, latest first, with the runs that each was part of."""
    key = asset_key(name)
    mine = sa.and_(asset_events.c.asset_key == key, asset_events.c.sequence.in_(sequences))
    found = connection.execute(sa.select(asset_events).where(mine).order_by(asset_events.c.sequence.desc()))
    rows = [dict(row) for row in found.mappings()]
    made: dict[int, list[dict[str, str]]] = defaultdict(list)
    if rows:
        for row in connection.execute(
            sa.select(asset_runs)
            .where(asset_runs.c.asset_key == key, asset_runs.c.sequence.in_(sequences))
            .order_by(asset_runs.c.dag_id, asset_runs.c.run_id)
        ).mappings():
            made[row["sequence"]].append({"dag_id": row["dag_id"], "run_id": row["run_id"]})
    return [
        {
            "asset": name,
            "sequence": row["sequence"],
            "time": iso(row["time"]),
            "producer": {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index")}
            if row["dag_id"]
            else None,
            "extra": _extra(row["extra"]),
            "aliases": row["aliases"],
            "actor": row["actor"],
            "runs": made[row["sequence"]],
            "partition_key": row["partition_key"],
            "watcher": row["watcher"],
        }
        for row in rows
    ]


def deadline_page(
    connection: sa.Connection,
    dag_id: str,
    run_id: str,
    states: list[str],
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Returns a page of deadlines, those that need somebody first: at risk, missed, pending, then the others."""
    columns = deadlines.c
    conditions: list[sa.ColumnElement[bool]] = []
    if dag_id:
        conditions.append(columns.dag_id == dag_id)
    if run_id:
        conditions.append(columns.run_id == run_id)
    if states:
        conditions.append(columns.state.in_(states))
    total = connection.execute(sa.select(sa.func.count()).select_from(deadlines).where(*conditions)).scalar_one()
    start = offset_of(cursor)
    urgency = sa.case({"at_risk": 0, "missed": 1, "pending": 2}, value=columns.state, else_=3)
    rows = connection.execute(
        sa.select(deadlines)
        .where(*conditions)
        .order_by(urgency, columns.deadline_time.desc(), columns.dag_id, columns.run_id, columns.name)
        .limit(limit)
        .offset(start)
    ).mappings()
    names = ("dag_id", "run_id", "name", "state", "median_seconds", "run_count")
    items = [
        {
            **{name: row[name] for name in names},
            "task_id": row["task_id"] or None,
            "deadline_time": iso(row["deadline_time"]),
            "expected_end_time": iso(row["expected_end_time"]),
            "changed_time": iso(row["changed_time"]),
        }
        for row in rows
    ]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)
