"""DAGs: what the scheduler says of them, their versions, and files that could not be read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, Table

from spinner_webgateway.adapters.tables.columns import (
    ascii_text,
    content,
    key,
    long_text,
    metadata,
    needed,
    time_column,
    wide_text,
)

dags = Table(
    "dags",
    metadata,
    key("dag_id", ascii_text(250)),
    needed("version", ascii_text(250)),
    needed("paused", Boolean),
    needed("removed", Boolean),
    time_column("next_run_time"),
    time_column("next_logical_date"),
    needed("no_next_run_reason", long_text()),
    needed("active_runs", Integer),
    needed("cluster", ascii_text(250)),
    needed("tier", Integer),
    needed("partition", Integer),
    needed("last_run_id", ascii_text(250)),
    time_column("last_run_time"),
    needed("last_run_state", ascii_text(20)),
    time_column("updated_time", nullable=False),
)

definitions = Table(
    "definitions",
    metadata,
    key("dag_id", ascii_text(250)),
    key("version", ascii_text(250)),
    time_column("parsed_time", nullable=False),
    needed("bundle", wide_text(250)),
    needed("bundle_version", wide_text(250)),
    needed("relative_path", long_text()),
    needed("schedule", wide_text(500)),
    needed("schedule_text", wide_text(500)),
    needed("owner", wide_text(250)),
    needed("project", wide_text(250)),
    needed("tier", Integer),
    needed("cluster", wide_text(250)),
    needed("partition", Integer),
    needed("tags", JSON),
    needed("tags_text", long_text()),
    needed("description", long_text()),
    needed("dynamic", Boolean),
    needed("dynamic_source_version", ascii_text(250)),
    needed("runtime", wide_text(100)),
    needed("task_count", Integer),
    needed("uses_assets", Boolean),
    needed("content", content()),
)


def _error_columns() -> list[Column[Any]]:
    """What is wrong in a file, where, and how to fix it."""
    return [
        needed("bundle", wide_text(250)),
        needed("relative_path", long_text()),
        needed("bundle_version", wide_text(250)),
        needed("error_type", wide_text(250)),
        needed("message", long_text()),
        needed("stack_trace", long_text()),
        needed("line", Integer),
        needed("source_line", long_text()),
        needed("fix", long_text()),
        needed("dag_ids", JSON),
        time_column("detected_time", nullable=False),
    ]


parse_errors = Table(
    "parse_errors",
    metadata,
    key("error_key", wide_text(500)),
    *_error_columns(),
    time_column("last_updated_time", nullable=False),
    needed("findings", JSON),
)

parse_error_history = Table(
    "parse_error_history",
    metadata,
    key("error_key", wide_text(500)),
    key("last_updated_time", BigInteger),
    *_error_columns(),
    needed("findings", JSON),
    time_column("end_time", nullable=False),
    Index("parse_error_history_by_time", "end_time"),
)
