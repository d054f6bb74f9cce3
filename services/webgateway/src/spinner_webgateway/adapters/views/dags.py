"""DAGs, their grid, and the parse errors of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.dags import dags, definitions, parse_errors
from spinner_webgateway.adapters.tables.runs import tasks
from spinner_webgateway.adapters.views import definitions as versions
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.adapters.views import tasks as task_views
from spinner_webgateway.adapters.views.definitions import Definitions
from spinner_webgateway.adapters.views.paging import contains, encode_cursor, like, offset_of, page
from spinner_webgateway.domain.layout import DefinitionGraph, json_object
from spinner_webgateway.domain.problems import dag_not_found, invalid
from spinner_webgateway.domain.rows import Row
from spinner_webgateway.domain.words import iso, micros

EMPTY_LAYOUT: dict[str, Any] = {"tasks": [], "groups": [], "edge_labels": []}
_JOIN = dags.outerjoin(
    definitions, sa.and_(definitions.c.dag_id == dags.c.dag_id, definitions.c.version == dags.c.version)
)
_FROM_DEFINITION = (
    "schedule",
    "schedule_text",
    "owner",
    "project",
    "tags",
    "description",
    "relative_path",
    "bundle",
    "dynamic",
    "runtime",
)
_COLUMNS = [*dags.c, *(definitions.c[name] for name in _FROM_DEFINITION)]
_LIVE = sa.and_(sa.not_(dags.c.removed), dags.c.version != "")
_SORTS: dict[str, sa.ColumnElement[Any]] = {
    "dag_id": dags.c.dag_id,
    "next_run_time": dags.c.next_run_time,
    "last_run": dags.c.last_run_time,
    "owner": definitions.c.owner,
    "tier": dags.c.tier,
    "schedule": definitions.c.schedule_text,
    "paused": dags.c.paused,
}


@dataclass(frozen=True, slots=True)
class DagFilter:
    """What a list of DAGs is narrowed to; empty fields narrow nothing."""

    query: str = ""
    owner: str = ""
    tier: int | None = None
    tag: str = ""
    paused: bool | None = None
    state: str = ""

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        found: list[sa.ColumnElement[bool]] = [_LIVE]
        if self.query:
            found.append(
                sa.or_(
                    contains(dags.c.dag_id, self.query),
                    contains(definitions.c.owner, self.query),
                    contains(definitions.c.tags_text, self.query),
                    contains(definitions.c.description, self.query),
                )
            )
        if self.owner:
            found.append(definitions.c.owner == self.owner)
        if self.tier is not None:
            found.append(dags.c.tier == self.tier)
        if self.tag:
            found.append(definitions.c.tags_text.like(like(f",{self.tag},"), escape="!"))
        if self.paused is not None:
            found.append(dags.c.paused == self.paused)
        if self.state:
            found.append(dags.c.last_run_state == self.state)
        return found


def listing(connection: sa.Connection, wanted: DagFilter, sort: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of `DagSummary`; `sort` is a name of `_SORTS`, with "-" in front for descending."""
    conditions = wanted.conditions()
    total = connection.execute(sa.select(sa.func.count()).select_from(_JOIN).where(*conditions)).scalar_one()
    start = offset_of(cursor)
    query = sa.select(*_COLUMNS).select_from(_JOIN).where(*conditions).order_by(*_order(sort))
    rows = [dict(row) for row in connection.execute(query.limit(limit).offset(start)).mappings()]
    recent = run_views.recent_of(connection, [row["dag_id"] for row in rows])
    broken = broken_files(connection)
    items = [_summary(row, recent[row["dag_id"]], broken) for row in rows]
    return page(items, total, encode_cursor(start + limit) if start + limit < total else None)


def _order(sort: str) -> list[sa.ColumnElement[Any]]:
    name = sort.removeprefix("-")
    column = _SORTS.get(name)
    if column is None:
        raise invalid("SORT_UNKNOWN", f"sort={sort[:80]!r} is unknown.", f"Use one of {', '.join(sorted(_SORTS))}.")
    # Unknown values last, whatever the direction: people look for what there is.
    return [column.is_(None), column.desc() if sort.startswith("-") else column.asc(), dags.c.dag_id]


def find_row(connection: sa.Connection, dag_id: str) -> Row:
    """Returns the DAG's row with its definition's facts; raises the 404 problem."""
    query = sa.select(*_COLUMNS).select_from(_JOIN).where(_LIVE, dags.c.dag_id == dag_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise dag_not_found(dag_id)
    return dict(row)


def details(connection: sa.Connection, dag_id: str, known: Definitions) -> dict[str, Any]:
    """Returns the shape `DagDetails`; raises the 404 problem."""
    row = find_row(connection, dag_id)
    recent = run_views.recent_of(connection, [dag_id])
    shape = _summary(row, recent[dag_id], broken_files(connection))
    shape["versions"] = versions.versions(connection, dag_id)
    graph = known.get(dag_id, row["version"])
    if graph is None:
        return shape
    definition = graph.definition
    return {
        **shape,
        "doc_md": definition.doc_md,
        "start_date": iso(micros(definition.start_date)),
        "end_date": iso(micros(definition.end_date)),
        "catchup": definition.catchup,
        "max_active_runs": definition.max_active_runs,
        "max_active_tasks": definition.max_active_tasks,
        "access_control": {grant.role: list(grant.permissions) for grant in definition.access_control},
        "params": json_object(definition.params_json),
        "details": json_object(definition.details_json),
    }


def _summary(row: Row, recent: list[dict[str, Any]], broken: set[tuple[str, str]]) -> dict[str, Any]:
    return {
        "dag_id": row["dag_id"],
        "paused": bool(row["paused"]),
        "schedule": row["schedule"] or "",
        "schedule_text": row["schedule_text"] or "",
        "owner": row["owner"] or "",
        "project": row["project"] or "",
        "tier": row["tier"],
        "tags": row["tags"] or [],
        "description": row["description"] or "",
        "version": row["version"],
        "relative_path": row["relative_path"] or "",
        "partition": f"{row['cluster']}_tier_{row['tier']}_{row['partition']}",
        "next_run_time": iso(row["next_run_time"]),
        "next_logical_date": iso(row["next_logical_date"]),
        "no_next_run_reason": row["no_next_run_reason"],
        "active_runs": row["active_runs"],
        "recent_runs": recent,
        "dynamic": bool(row["dynamic"]),
        "runtime": row["runtime"] or "spinner",
        "has_errors": (row["bundle"], row["relative_path"]) in broken or ("", row["dag_id"]) in broken,
        "can_edit": True,
    }


def broken_files(connection: sa.Connection) -> set[tuple[str, str]]:
    """Returns (bundle, path) of files with errors and ("", dag id) of the DAGs that the errors name."""
    found: set[tuple[str, str]] = set()
    columns = parse_errors.c
    for bundle, path, dag_ids in connection.execute(sa.select(columns.bundle, columns.relative_path, columns.dag_ids)):
        found.add((bundle, path))
        found.update(("", dag_id) for dag_id in dag_ids)
    return found


def grid(connection: sa.Connection, dag_id: str, known: Definitions, count: int, before: str | None) -> dict[str, Any]:
    """Returns the shape `Grid`: the states of the latest runs, by the layout of the newest of them."""
    row = find_row(connection, dag_id)
    shown = run_views.latest(connection, dag_id, count, before)
    newest = next((run["version"] for run in reversed(shown) if run["version"]), "")
    # A dynamic DAG's own definition has no tasks: each run brings its layout.
    version = newest if row["dynamic"] or before else row["version"]
    graph = known.get(dag_id, version) or known.get(dag_id, row["version"])
    graphs = {run["run_id"]: known.get(dag_id, run["version"]) for run in shown}
    single, mapped = _states(connection, dag_id, [run["run_id"] for run in shown])
    names = list(graph.task_ids) if graph else []
    present = set(names)
    strays = {name for _, name in single} | {name for _, name in mapped}
    for other in graphs.values():
        strays.update(other.task_ids if other else ())
    names += sorted(strays - present)
    return {
        "dag_id": dag_id,
        "runs": [run_views.summary(run) for run in shown],
        "rows": [_grid_row(name, shown, graphs, single, mapped) for name in names],
        "layout": graph.layout() if graph else {"dag_id": dag_id, "version": row["version"], **EMPTY_LAYOUT},
    }


def _states(
    connection: sa.Connection, dag_id: str, run_ids: Sequence[str]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], dict[str, int]]]:
    columns = tasks.c
    here = [columns.dag_id == dag_id, columns.run_id.in_(run_ids)]
    single = {
        (run_id, task_id): state
        for run_id, task_id, state in connection.execute(
            sa.select(columns.run_id, columns.task_id, columns.state).where(*here, columns.map_index == -1)
        )
    }
    mapped: dict[tuple[str, str], dict[str, int]] = {}
    for run_id, task_id, state, count in connection.execute(
        sa.select(columns.run_id, columns.task_id, columns.state, sa.func.count())
        .where(*here, columns.map_index >= 0)
        .group_by(columns.run_id, columns.task_id, columns.state)
    ):
        mapped.setdefault((run_id, task_id), {})[state] = count
    return single, mapped


def _grid_row(
    name: str,
    shown: Sequence[Row],
    graphs: dict[str, DefinitionGraph | None],
    single: dict[tuple[str, str], str],
    mapped: dict[tuple[str, str], dict[str, int]],
) -> dict[str, Any]:
    states: list[str | None] = []
    counts: list[dict[str, int] | None] = []
    for run in shown:
        at = (run["run_id"], name)
        length = run["expansions"].get(name, 0)
        if length > 0 or at in mapped:
            counted = task_views.with_waiting(mapped.get(at, {}), length)
            states.append(task_views.overall(counted))
            counts.append(counted)
            continue
        graph = graphs[run["run_id"]]
        states.append(single.get(at) or ("none" if graph is not None and name in graph.index else None))
        counts.append(None)
    return {"task_id": name, "states": states, "mapped_counts": counts if any(counts) else []}
