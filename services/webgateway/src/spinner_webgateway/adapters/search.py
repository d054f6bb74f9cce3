"""Search over DAGs, runs, errors and diagnoses in the database. `elastic` replaces it where Elasticsearch is."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import sqlalchemy as sa

from spinner_webgateway.adapters.tables.dags import dags, definitions, parse_errors
from spinner_webgateway.adapters.tables.runs import diagnoses, runs
from spinner_webgateway.adapters.views.paging import contains, like

HITS_A_KIND = 10


class Search(Protocol):
    """Finds what a person looks for."""

    kind: Literal["database", "elasticsearch"]

    def find(self, text: str) -> list[dict[str, Any]]:
        """Returns the shapes `SearchHit`, best first. Blocks; thread-safe."""


def hit(kind: str, title: str, **more: Any) -> dict[str, Any]:
    empty = {"subtitle": "", "dag_id": "", "run_id": "", "task_id": "", "map_index": -1, "try_number": 0}
    return {"kind": kind, "title": title, **empty, "highlight": "", **more}


def around(text: str, needle: str, room: int = 120) -> str:
    """Returns the part of a text around the first place where the needle is."""
    at = text.lower().find(needle.lower())
    start = max(0, at - room // 2)
    part = text[start : start + room].replace("\n", " ")
    return ("…" if start else "") + part + ("…" if start + room < len(text) else "")


class DatabaseSearch:
    """Search by parts of names and messages. Needs no other server."""

    kind: Literal["database", "elasticsearch"] = "database"

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def find(self, text: str) -> list[dict[str, Any]]:
        needle = text.strip()
        if not needle:
            return []
        with self._engine.connect() as connection:
            return [
                *self._dags(connection, needle),
                *self._runs(connection, needle),
                *self._errors(connection, needle),
                *self._diagnoses(connection, needle),
            ]

    def _dags(self, connection: sa.Connection, needle: str) -> list[dict[str, Any]]:
        join = dags.outerjoin(
            definitions, sa.and_(definitions.c.dag_id == dags.c.dag_id, definitions.c.version == dags.c.version)
        )
        columns = (dags.c.dag_id, definitions.c.owner, definitions.c.description)
        begins = sa.func.lower(dags.c.dag_id).like(like(needle.lower())[1:], escape="!")
        found = connection.execute(
            sa.select(*columns)
            .select_from(join)
            .where(
                sa.not_(dags.c.removed),
                dags.c.version != "",
                sa.or_(*(contains(column, needle) for column in (*columns, definitions.c.tags_text))),
            )
            .order_by(sa.case((begins, 0), else_=1), dags.c.dag_id)
            .limit(HITS_A_KIND)
        )
        return [
            hit("dag", dag_id, subtitle=owner or "", dag_id=dag_id, highlight=around(description or "", needle))
            for dag_id, owner, description in found
        ]

    def _runs(self, connection: sa.Connection, needle: str) -> list[dict[str, Any]]:
        found = connection.execute(
            sa.select(runs.c.dag_id, runs.c.run_id, runs.c.state)
            .where(contains(runs.c.run_id, needle))
            .order_by(runs.c.order_time.desc())
            .limit(HITS_A_KIND)
        )
        return [
            hit("run", run_id, subtitle=f"{dag_id} · {state}", dag_id=dag_id, run_id=run_id)
            for dag_id, run_id, state in found
        ]

    def _errors(self, connection: sa.Connection, needle: str) -> list[dict[str, Any]]:
        columns = (parse_errors.c.relative_path, parse_errors.c.error_type, parse_errors.c.message)
        found = connection.execute(
            sa.select(*columns, parse_errors.c.dag_ids)
            .where(sa.or_(*(contains(column, needle) for column in columns)))
            .order_by(parse_errors.c.last_updated_time.desc())
            .limit(HITS_A_KIND)
        )
        return [
            hit(
                "error",
                path,
                subtitle=error_type,
                dag_id=dag_ids[0] if dag_ids else "",
                highlight=around(message, needle),
            )
            for path, error_type, message, dag_ids in found
        ]

    def _diagnoses(self, connection: sa.Connection, needle: str) -> list[dict[str, Any]]:
        found = connection.execute(
            sa.select(diagnoses)
            .where(
                sa.or_(
                    contains(diagnoses.c.task_id, needle),
                    contains(diagnoses.c.title, needle),
                    contains(diagnoses.c.category, needle),
                )
            )
            .order_by(diagnoses.c.time.desc())
            .limit(HITS_A_KIND)
        ).mappings()
        return [
            hit(
                "task",
                row["task_id"],
                subtitle=f"{row['dag_id']} · {row['title']}",
                dag_id=row["dag_id"],
                run_id=row["run_id"],
                task_id=row["task_id"],
                map_index=row["map_index"],
                try_number=row["try_number"],
                highlight=row["evidence"][0]["text"] if row["evidence"] else "",
            )
            for row in found
        ]
