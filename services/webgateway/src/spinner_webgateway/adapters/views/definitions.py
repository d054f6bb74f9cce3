"""Definitions by version: decoded once, shared by all requests, because a version never changes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from spinner_proto.definitions.v1 import definitions_pb2

from spinner_webgateway.adapters.tables.dags import definitions
from spinner_webgateway.domain.compression import decompress
from spinner_webgateway.domain.layout import DefinitionGraph
from spinner_webgateway.domain.words import iso

CACHED_VERSIONS = 256


class _Missing(Exception):  # noqa: N818 - an answer
    """Not cached, since it may come."""


class Definitions:
    """Decoded definitions. Thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._cached = lru_cache(maxsize=CACHED_VERSIONS)(self._read)

    def get(self, dag_id: str, version: str) -> DefinitionGraph | None:
        """Returns the graph; None when the views don't have this version (yet)."""
        if not version:
            return None
        try:
            return self._cached(dag_id, version)
        except _Missing:
            return None

    def forget(self) -> None:
        """Drops the cache, for views that were rebuilt."""
        self._cached.cache_clear()

    def _read(self, dag_id: str, version: str) -> DefinitionGraph:
        with self._engine.connect() as connection:
            frame = connection.execute(
                sa.select(definitions.c.content).where(definitions.c.dag_id == dag_id, definitions.c.version == version)
            ).scalar()
        if frame is None:
            raise _Missing
        return DefinitionGraph(definitions_pb2.DagDefinition.FromString(decompress(frame)))


def versions(connection: sa.Connection, dag_id: str) -> list[dict[str, Any]]:
    """Returns the DAG's own versions, newest first; computed layouts of single runs are left out."""
    columns = definitions.c
    found = connection.execute(
        sa.select(columns.version, columns.parsed_time, columns.bundle, columns.bundle_version, columns.task_count)
        .where(columns.dag_id == dag_id, columns.dynamic_source_version == "")
        .order_by(columns.parsed_time.desc(), columns.version)
        .limit(200)
    )
    return [
        {
            "version": row.version,
            "parsed_time": iso(row.parsed_time),
            "bundle": row.bundle,
            "bundle_version": row.bundle_version,
            "task_count": row.task_count,
        }
        for row in found
    ]
