"""Tables of the views, in SQL that SQLite, MariaDB and MySQL share.

Ids are ASCII and compared by bytes; times are integers (microseconds, UTC). Tables that are read by run are
clustered by run, so that a run's rows lie together. Every change here needs a migration beside it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql

metadata = MetaData()


def ascii_text(length: int) -> String:
    """An id: ASCII, compared by bytes, so that four of them fit into one MySQL key."""
    binary = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def wide_text(length: int) -> String:
    """Any text with an index: compared by bytes, as SQLite does."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(binary, "mysql", "mariadb")


def long_text() -> Text:
    return Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def content() -> LargeBinary:
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def time_column(name: str, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def key(name: str, kind: String | type[Integer] | type[BigInteger]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def needed(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}

positions = Table(
    "positions",
    metadata,
    key("reader", ascii_text(40)),
    key("topic", ascii_text(250)),
    key("partition", Integer),
    needed("next_offset", BigInteger),
    **CLUSTERED,
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

runs = Table(
    "runs",
    metadata,
    key("dag_id", ascii_text(250)),
    key("run_id", ascii_text(250)),
    needed("run_type", ascii_text(20)),
    needed("state", ascii_text(20)),
    needed("marked", Boolean),
    time_column("logical_date"),
    time_column("data_interval_start"),
    time_column("data_interval_end"),
    time_column("run_after"),
    time_column("order_time", nullable=False),
    time_column("queued_time"),
    time_column("start_time"),
    time_column("end_time"),
    needed("version", ascii_text(250)),
    needed("actor", wide_text(250)),
    needed("note", long_text()),
    needed("reason", long_text()),
    Column("partition_key", wide_text(250), nullable=False, server_default=""),
    needed("awaiting_layout", Boolean),
    needed("triggered_by", long_text()),
    needed("layout_tasks", Integer),
    needed("expansions", JSON),
    needed("counts", JSON),
    needed("conf_key", long_text()),
    needed("conf", content()),
    Column("backfill_id", ascii_text(250), nullable=False, server_default=""),
    Index("runs_by_dag", "dag_id", "order_time", "run_id"),
    Index("runs_by_time", "order_time", "dag_id", "run_id"),
    Index("runs_by_state", "state", "order_time"),
)

tasks = Table(
    "tasks",
    metadata,
    key("dag_id", ascii_text(250)),
    key("run_id", ascii_text(250)),
    key("task_id", ascii_text(250)),
    key("map_index", Integer),
    needed("state", ascii_text(20)),
    needed("marked", Boolean),
    needed("try_number", Integer),
    needed("failed_try", Integer),
    time_column("start_time"),
    time_column("end_time"),
    time_column("next_time"),
    needed("reason", long_text()),
    needed("executor", wide_text(250)),
    needed("worker", wide_text(500)),
    needed("application_id", wide_text(500)),
    Index("tasks_by_state", "state"),
    **CLUSTERED,
)


def try_keys() -> list[Column[Any]]:
    return [
        key("dag_id", ascii_text(250)),
        key("run_id", ascii_text(250)),
        key("task_id", ascii_text(250)),
        key("map_index", Integer),
        key("try_number", Integer),
    ]


tries = Table(
    "tries",
    metadata,
    *try_keys(),
    needed("state", ascii_text(20)),
    needed("outcome", ascii_text(40)),
    needed("message", long_text()),
    Column("exit_code", Integer),
    time_column("queued_time"),
    time_column("start_time"),
    time_column("end_time"),
    needed("stages", JSON),
    Column("peak_memory_bytes", BigInteger),
    Column("read_bytes", BigInteger),
    Column("written_bytes", BigInteger),
    Column("cpu_seconds", Float(53)),
    Column("memory_request_bytes", BigInteger),
    Column("memory_limit_bytes", BigInteger),
    Column("memory_source", ascii_text(20)),
    needed("log_key", long_text()),
    needed("log_bytes", BigInteger),
    needed("executor", wide_text(250)),
    needed("worker", wide_text(500)),
    needed("application_id", wide_text(500)),
    needed("builds", JSON),
    needed("exception_classes", JSON),
    needed("rendered_key", long_text()),
    needed("rendered", content()),
    **CLUSTERED,
)

run_events = Table(
    "run_events",
    metadata,
    key("dag_id", ascii_text(250)),
    key("run_id", ascii_text(250)),
    key("cell", ascii_text(250)),
    key("partition", Integer),
    key("offset", BigInteger),
    time_column("time", nullable=False),
    needed("event_count", Integer),
    needed("content", content()),
    **CLUSTERED,
)

diagnoses = Table(
    "diagnoses",
    metadata,
    *try_keys(),
    needed("category", wide_text(100)),
    needed("title", wide_text(500)),
    needed("owner", wide_text(100)),
    needed("confidence", Float(53)),
    needed("stage", wide_text(40)),
    needed("evidence", JSON),
    needed("how_to_fix", long_text()),
    needed("rule_id", wide_text(250)),
    needed("fingerprint", wide_text(250)),
    time_column("time", nullable=False),
    Index("diagnoses_by_fingerprint", "fingerprint"),
    **CLUSTERED,
)

executions = Table(
    "executions",
    metadata,
    *try_keys(),
    needed("status", wide_text(40)),
    needed("outcome", ascii_text(40)),
    time_column("start_time"),
    time_column("end_time"),
    needed("project", wide_text(250)),
    needed("tier", Integer),
    needed("operator", wide_text(250)),
    needed("peak_memory_bytes", BigInteger),
    needed("cpu_seconds", Float(53)),
    **CLUSTERED,
)

parse_errors = Table(
    "parse_errors",
    metadata,
    key("error_key", wide_text(500)),
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
    time_column("last_updated_time", nullable=False),
    needed("findings", JSON),
)

parse_error_history = Table(
    "parse_error_history",
    metadata,
    key("error_key", wide_text(500)),
    key("last_updated_time", BigInteger),
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
    needed("findings", JSON),
    time_column("end_time", nullable=False),
    Index("parse_error_history_by_time", "end_time"),
)

audit = Table(
    "audit",
    metadata,
    key("event_id", ascii_text(250)),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
    needed("via", wide_text(100)),
    needed("action", wide_text(100)),
    needed("subject", wide_text(520)),
    needed("result", wide_text(40)),
    needed("details", JSON),
    needed("request_id", wide_text(250)),
    Index("audit_by_time", "time"),
    Index("audit_by_subject", "subject", "time"),
    Index("audit_by_actor", "actor", "time"),
)

task_usage = Table(
    "task_usage",
    metadata,
    key("dag_id", ascii_text(250)),
    key("task_id", ascii_text(250)),
    needed("samples", JSON),
    needed("configured_request_bytes", BigInteger),
    needed("configured_limit_bytes", BigInteger),
    needed("learned_request_bytes", BigInteger),
    needed("raised_limit_bytes", BigInteger),
    needed("next_request_bytes", BigInteger),
    needed("next_limit_bytes", BigInteger),
    needed("next_source", ascii_text(20)),
    time_column("time", nullable=False),
)

task_resources = Table(
    "task_resources",
    metadata,
    key("dag_id", ascii_text(250)),
    key("task_id", ascii_text(250)),
    needed("memory_request_bytes", BigInteger),
    needed("memory_limit_bytes", BigInteger),
    time_column("reset_time"),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
)

pools = Table(
    "pools",
    metadata,
    key("name", wide_text(250)),
    needed("slots", Integer),
    needed("include_deferred", Boolean),
    needed("description", long_text()),
)

variables = Table(
    "variables",
    metadata,
    key("name", wide_text(250)),
    needed("value", long_text()),
    needed("encrypted", Boolean),
    needed("description", long_text()),
)

connections = Table(
    "connections",
    metadata,
    key("connection_id", wide_text(250)),
    needed("type", wide_text(100)),
    needed("host", long_text()),
    needed("port", Integer),
    needed("schema", long_text()),
    needed("login", long_text()),
    needed("encrypted_password", long_text()),
    needed("encrypted_extra", long_text()),
    needed("description", long_text()),
)

portal = Table(
    "portal",
    metadata,
    key("subject", wide_text(250)),
    needed("kind", wide_text(100)),
    needed("value", content()),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
)

commands = Table(
    "commands",
    metadata,
    key("request_id", ascii_text(250)),
    needed("dag_id", ascii_text(250)),
    needed("accepted", Boolean),
    needed("code", wide_text(100)),
    needed("message", long_text()),
    needed("run_id", ascii_text(250)),
    needed("task_count", Integer),
    time_column("time", nullable=False),
    Column("plan", content()),
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

partition_owners = Table(
    "partition_owners",
    metadata,
    key("name", ascii_text(250)),
    needed("address", wide_text(250)),
    time_column("time", nullable=False),
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

deadlines = Table(
    "deadlines",
    metadata,
    key("dag_id", ascii_text(250)),
    key("run_id", ascii_text(250)),
    key("name", wide_text(250)),
    needed("task_id", ascii_text(250)),
    needed("state", ascii_text(20)),
    time_column("deadline_time", nullable=False),
    time_column("expected_end_time"),
    Column("median_seconds", Float),
    needed("run_count", Integer),
    time_column("changed_time", nullable=False),
    Index("deadlines_by_state", "state", "deadline_time"),
)

decisions = Table(
    "decisions",
    metadata,
    *try_keys(),
    needed("state", ascii_text(20)),
    needed("kind", ascii_text(20)),
    needed("subject", long_text()),
    needed("body", long_text()),
    needed("options", JSON),
    needed("defaults", JSON),
    needed("multiple", Boolean),
    needed("params", JSON),
    needed("assignees", JSON),
    time_column("requested_time", nullable=False),
    time_column("deadline"),
    needed("chosen_options", JSON),
    needed("params_input", JSON),
    needed("decided_by", wide_text(250)),
    time_column("decided_time"),
    needed("note", long_text()),
    Index("decisions_by_state", "state", "requested_time"),
)

VIEWS: dict[str, Table] = {
    table.name: table
    for table in (
        dags,
        definitions,
        runs,
        tasks,
        tries,
        run_events,
        diagnoses,
        executions,
        parse_errors,
        parse_error_history,
        audit,
        task_usage,
        task_resources,
        pools,
        variables,
        connections,
        portal,
        commands,
        partition_owners,
        backfills,
        backfill_intervals,
        assets,
        asset_events,
        asset_partitions,
        asset_watchers,
        asset_stales,
        asset_runs,
        deadlines,
        decisions,
    )
}
"""Tables that the projection fills, by name."""
