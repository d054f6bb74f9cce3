"""Backfills and what became of each interval."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Index, Integer, Table

from spinner_webgateway.adapters.tables.columns import (
    CLUSTERED,
    ascii_text,
    content,
    key,
    long_text,
    metadata,
    needed,
    time_column,
    wide_text,
)

backfills = Table(
    "backfills",
    metadata,
    key("dag_id", ascii_text(250)),
    key("backfill_id", ascii_text(250)),
    needed("state", ascii_text(20)),
    needed("reason", long_text()),
    time_column("from_date", nullable=False),
    time_column("to_date", nullable=False),
    needed("run_order", ascii_text(20)),
    needed("reprocess_behavior", ascii_text(20)),
    needed("max_active_runs", Integer),
    needed("task_ids", JSON),
    needed("conf_key", long_text()),
    needed("conf", content()),
    needed("skip_callbacks", Boolean),
    needed("pool", wide_text(250)),
    needed("note", long_text()),
    needed("version", ascii_text(250)),
    needed("actor", wide_text(250)),
    needed("interval_count", Integer),
    needed("taken_count", Integer),
    needed("skip_count", Integer),
    time_column("created_time", nullable=False),
    time_column("end_time"),
    Index("backfills_by_time", "created_time", "dag_id", "backfill_id"),
)

backfill_intervals = Table(
    "backfill_intervals",
    metadata,
    key("dag_id", ascii_text(250)),
    key("backfill_id", ascii_text(250)),
    key("logical_date", BigInteger),
    time_column("data_interval_start"),
    time_column("data_interval_end"),
    needed("action", ascii_text(20)),
    needed("run_id", ascii_text(250)),
    needed("reason", long_text()),
    **CLUSTERED,
)
