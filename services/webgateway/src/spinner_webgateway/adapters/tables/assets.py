"""Assets: their updates, partitions, watchers, and the runs that consumed updates."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Table

from spinner_webgateway.adapters.tables.columns import (
    ascii_text,
    key,
    long_text,
    metadata,
    needed,
    time_column,
    wide_text,
)

assets = Table(
    "assets",
    metadata,
    key("asset_key", ascii_text(64)),
    needed("name", long_text()),
    needed("update_count", BigInteger),
    time_column("last_time", nullable=False),
)

asset_events = Table(
    "asset_events",
    metadata,
    key("asset_key", ascii_text(64)),
    key("sequence", BigInteger),
    time_column("time", nullable=False),
    needed("dag_id", ascii_text(250)),
    needed("run_id", ascii_text(250)),
    needed("task_id", ascii_text(250)),
    needed("map_index", Integer),
    needed("extra", long_text()),
    needed("aliases", JSON),
    needed("actor", wide_text(250)),
    Column("partition_key", wide_text(250), nullable=False, server_default=""),
    Column("watcher", ascii_text(250), nullable=False, server_default=""),
)

asset_partitions = Table(
    "asset_partitions",
    metadata,
    key("asset_key", ascii_text(64)),
    key("partition_hash", ascii_text(64)),
    needed("partition_key", wide_text(250)),
    needed("sequence", BigInteger),
    time_column("time", nullable=False),
    Index("asset_partitions_by_time", "asset_key", "time"),
)

asset_watchers = Table(
    "asset_watchers",
    metadata,
    key("asset_key", ascii_text(64)),
    key("name", ascii_text(250)),
    needed("state", ascii_text(20)),
    needed("trigger_class", long_text()),
    needed("event_count", BigInteger),
    time_column("last_event_time"),
    needed("last_error", long_text()),
    time_column("last_error_time"),
    needed("executor", wide_text(250)),
    Column("generation", Integer, nullable=False, server_default="0"),
)

asset_stales = Table(
    "asset_stales",
    metadata,
    key("asset_key", ascii_text(64)),
    needed("dag_id", ascii_text(250)),
    needed("run_id", ascii_text(250)),
    time_column("stale_time", nullable=False),
)

asset_runs = Table(
    "asset_runs",
    metadata,
    key("asset_key", ascii_text(64)),
    key("sequence", BigInteger),
    key("dag_id", ascii_text(250)),
    key("run_id", ascii_text(250)),
    time_column("time", nullable=False),
)
