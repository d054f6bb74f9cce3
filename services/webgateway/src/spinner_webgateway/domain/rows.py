"""The rows that a batch of records may touch, held in memory while the batch is applied.

The projection first says which rows it needs, the store loads them, the projection changes them here, and the
store writes what changed, all in one SQL transaction with the positions. So the domain stays pure, a task that
changes four times in one batch is written once, and counters are exact without locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Key = tuple[Any, ...]
Need = tuple[str, Key]

KEYS: dict[str, tuple[str, ...]] = {
    "dags": ("dag_id",),
    "definitions": ("dag_id", "version"),
    "runs": ("dag_id", "run_id"),
    "tasks": ("dag_id", "run_id", "task_id", "map_index"),
    "tries": ("dag_id", "run_id", "task_id", "map_index", "try_number"),
    "run_events": ("dag_id", "run_id", "cell", "partition", "offset"),
    "diagnoses": ("dag_id", "run_id", "task_id", "map_index", "try_number"),
    "executions": ("dag_id", "run_id", "task_id", "map_index", "try_number"),
    "parse_errors": ("error_key",),
    "parse_error_history": ("error_key", "last_updated_time"),
    "audit": ("event_id",),
    "task_usage": ("dag_id", "task_id"),
    "task_resources": ("dag_id", "task_id"),
    "pools": ("name",),
    "variables": ("name",),
    "connections": ("connection_id",),
    "portal": ("subject",),
    "commands": ("request_id",),
    "partition_owners": ("name",),
    "backfills": ("dag_id", "backfill_id"),
    "decisions": ("dag_id", "run_id", "task_id", "map_index", "try_number"),
    "backfill_intervals": ("dag_id", "backfill_id", "logical_date"),
    "assets": ("asset_key",),
    "asset_events": ("asset_key", "sequence"),
    "asset_partitions": ("asset_key", "partition_hash"),
    "asset_watchers": ("asset_key", "name"),
    "asset_stales": ("asset_key",),
    "asset_runs": ("asset_key", "sequence", "dag_id", "run_id"),
    "deadlines": ("dag_id", "run_id", "name"),
}
"""Primary key of every table that the projection writes."""


@dataclass(slots=True)
class WorkingSet:
    """Rows by table and key. A key that was loaded and is not there is None."""

    rows: dict[str, dict[Key, Row | None]] = field(default_factory=lambda: {table: {} for table in KEYS})
    changed: dict[str, dict[Key, None]] = field(default_factory=lambda: {table: {} for table in KEYS})

    def missing(self, needs: Iterable[Need]) -> Iterator[Need]:
        """Yields the needs that are not loaded yet."""
        for table, key in needs:
            if key not in self.rows[table]:
                yield table, key

    def loaded(self, table: str, key: Key, row: Row | None) -> None:
        self.rows[table][key] = row

    def get(self, table: str, key: Key) -> Row | None:
        """Returns the row to read; use `edit` to change it. The row must have been asked for by `needs`."""
        return self.rows[table].get(key)

    def edit(self, table: str, key: Key) -> Row | None:
        """Returns the row to change in place, marked as changed; None when there is none."""
        row = self.rows[table].get(key)
        if row is not None:
            self.changed[table][key] = None
        return row

    def put(self, table: str, row: Row) -> Row:
        """Adds or replaces a whole row."""
        key = tuple(row[name] for name in KEYS[table])
        self.rows[table][key] = row
        self.changed[table][key] = None
        return row

    def remove(self, table: str, key: Key) -> None:
        self.rows[table][key] = None
        self.changed[table][key] = None
