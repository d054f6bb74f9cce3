"""The first tables of the views, as they were then: never changed again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, content, long_text, wide_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("event_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.Column("via", wide_text(100), nullable=False),
        sa.Column("action", wide_text(100), nullable=False),
        sa.Column("subject", wide_text(520), nullable=False),
        sa.Column("result", wide_text(40), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("request_id", wide_text(250), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("audit_by_actor", "audit", ["actor", "time"], unique=False)
    op.create_index("audit_by_subject", "audit", ["subject", "time"], unique=False)
    op.create_index("audit_by_time", "audit", ["time"], unique=False)
    op.create_table(
        "commands",
        sa.Column("request_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("dag_id", ascii_text(250), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("code", wide_text(100), nullable=False),
        sa.Column("message", long_text(), nullable=False),
        sa.Column("run_id", ascii_text(250), nullable=False),
        sa.Column("task_count", sa.Integer(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_table(
        "connections",
        sa.Column("connection_id", wide_text(250), autoincrement=False, nullable=False),
        sa.Column("type", wide_text(100), nullable=False),
        sa.Column("host", long_text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("schema", long_text(), nullable=False),
        sa.Column("login", long_text(), nullable=False),
        sa.Column("encrypted_password", long_text(), nullable=False),
        sa.Column("encrypted_extra", long_text(), nullable=False),
        sa.Column("description", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id"),
    )
    op.create_table(
        "dags",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("version", ascii_text(250), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("next_run_time", sa.BigInteger(), nullable=True),
        sa.Column("next_logical_date", sa.BigInteger(), nullable=True),
        sa.Column("no_next_run_reason", long_text(), nullable=False),
        sa.Column("active_runs", sa.Integer(), nullable=False),
        sa.Column("cluster", ascii_text(250), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("last_run_id", ascii_text(250), nullable=False),
        sa.Column("last_run_time", sa.BigInteger(), nullable=True),
        sa.Column("last_run_state", ascii_text(20), nullable=False),
        sa.Column("updated_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id"),
    )
    op.create_table(
        "definitions",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("version", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("parsed_time", sa.BigInteger(), nullable=False),
        sa.Column("bundle", wide_text(250), nullable=False),
        sa.Column("bundle_version", wide_text(250), nullable=False),
        sa.Column("relative_path", long_text(), nullable=False),
        sa.Column("schedule", wide_text(500), nullable=False),
        sa.Column("schedule_text", wide_text(500), nullable=False),
        sa.Column("owner", wide_text(250), nullable=False),
        sa.Column("project", wide_text(250), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("cluster", wide_text(250), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("tags_text", long_text(), nullable=False),
        sa.Column("description", long_text(), nullable=False),
        sa.Column("dynamic", sa.Boolean(), nullable=False),
        sa.Column("dynamic_source_version", ascii_text(250), nullable=False),
        sa.Column("runtime", wide_text(100), nullable=False),
        sa.Column("task_count", sa.Integer(), nullable=False),
        sa.Column("content", content(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "version"),
    )
    op.create_table(
        "diagnoses",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("category", wide_text(100), nullable=False),
        sa.Column("title", wide_text(500), nullable=False),
        sa.Column("owner", wide_text(100), nullable=False),
        sa.Column("confidence", sa.Float(precision=53), nullable=False),
        sa.Column("stage", wide_text(40), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("how_to_fix", long_text(), nullable=False),
        sa.Column("rule_id", wide_text(250), nullable=False),
        sa.Column("fingerprint", wide_text(250), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", "try_number"),
        sqlite_with_rowid=False,
    )
    op.create_index("diagnoses_by_fingerprint", "diagnoses", ["fingerprint"], unique=False)
    op.create_table(
        "executions",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", wide_text(40), nullable=False),
        sa.Column("outcome", ascii_text(40), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=True),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("project", wide_text(250), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("operator", wide_text(250), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", "try_number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "parse_errors",
        sa.Column("error_key", wide_text(500), autoincrement=False, nullable=False),
        sa.Column("bundle", wide_text(250), nullable=False),
        sa.Column("relative_path", long_text(), nullable=False),
        sa.Column("bundle_version", wide_text(250), nullable=False),
        sa.Column("error_type", wide_text(250), nullable=False),
        sa.Column("message", long_text(), nullable=False),
        sa.Column("stack_trace", long_text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("source_line", long_text(), nullable=False),
        sa.Column("fix", long_text(), nullable=False),
        sa.Column("dag_ids", sa.JSON(), nullable=False),
        sa.Column("detected_time", sa.BigInteger(), nullable=False),
        sa.Column("last_updated_time", sa.BigInteger(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("error_key"),
    )
    op.create_table(
        "pools",
        sa.Column("name", wide_text(250), autoincrement=False, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("include_deferred", sa.Boolean(), nullable=False),
        sa.Column("description", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "portal",
        sa.Column("subject", wide_text(250), autoincrement=False, nullable=False),
        sa.Column("kind", wide_text(100), nullable=False),
        sa.Column("value", content(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "positions",
        sa.Column("reader", ascii_text(40), autoincrement=False, nullable=False),
        sa.Column("topic", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", "topic", "partition"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_events",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("cell", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("content", content(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "cell", "partition", "offset"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_type", ascii_text(20), nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("logical_date", sa.BigInteger(), nullable=True),
        sa.Column("data_interval_start", sa.BigInteger(), nullable=True),
        sa.Column("data_interval_end", sa.BigInteger(), nullable=True),
        sa.Column("run_after", sa.BigInteger(), nullable=True),
        sa.Column("order_time", sa.BigInteger(), nullable=False),
        sa.Column("queued_time", sa.BigInteger(), nullable=True),
        sa.Column("start_time", sa.BigInteger(), nullable=True),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("version", ascii_text(250), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.Column("note", long_text(), nullable=False),
        sa.Column("reason", long_text(), nullable=False),
        sa.Column("awaiting_layout", sa.Boolean(), nullable=False),
        sa.Column("triggered_by", long_text(), nullable=False),
        sa.Column("layout_tasks", sa.Integer(), nullable=False),
        sa.Column("expansions", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("conf_key", long_text(), nullable=False),
        sa.Column("conf", content(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id"),
    )
    op.create_index("runs_by_dag", "runs", ["dag_id", "order_time", "run_id"], unique=False)
    op.create_index("runs_by_state", "runs", ["state", "order_time"], unique=False)
    op.create_index("runs_by_time", "runs", ["order_time", "dag_id", "run_id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("failed_try", sa.Integer(), nullable=False),
        sa.Column("start_time", sa.BigInteger(), nullable=True),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("next_time", sa.BigInteger(), nullable=True),
        sa.Column("reason", long_text(), nullable=False),
        sa.Column("executor", wide_text(250), nullable=False),
        sa.Column("worker", wide_text(500), nullable=False),
        sa.Column("application_id", wide_text(500), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index"),
        sqlite_with_rowid=False,
    )
    op.create_index("tasks_by_state", "tasks", ["state"], unique=False)
    op.create_table(
        "tries",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("outcome", ascii_text(40), nullable=False),
        sa.Column("message", long_text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("queued_time", sa.BigInteger(), nullable=True),
        sa.Column("start_time", sa.BigInteger(), nullable=True),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(precision=53), nullable=True),
        sa.Column("log_key", long_text(), nullable=False),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        sa.Column("executor", wide_text(250), nullable=False),
        sa.Column("worker", wide_text(500), nullable=False),
        sa.Column("application_id", wide_text(500), nullable=False),
        sa.Column("builds", sa.JSON(), nullable=False),
        sa.Column("exception_classes", sa.JSON(), nullable=False),
        sa.Column("rendered_key", long_text(), nullable=False),
        sa.Column("rendered", content(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", "try_number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "variables",
        sa.Column("name", wide_text(250), autoincrement=False, nullable=False),
        sa.Column("value", long_text(), nullable=False),
        sa.Column("encrypted", sa.Boolean(), nullable=False),
        sa.Column("description", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("variables")
    op.drop_table("tries")
    op.drop_index("tasks_by_state", table_name="tasks")
    op.drop_table("tasks")
    op.drop_index("runs_by_time", table_name="runs")
    op.drop_index("runs_by_state", table_name="runs")
    op.drop_index("runs_by_dag", table_name="runs")
    op.drop_table("runs")
    op.drop_table("run_events")
    op.drop_table("positions")
    op.drop_table("portal")
    op.drop_table("pools")
    op.drop_table("parse_errors")
    op.drop_table("executions")
    op.drop_index("diagnoses_by_fingerprint", table_name="diagnoses")
    op.drop_table("diagnoses")
    op.drop_table("definitions")
    op.drop_table("dags")
    op.drop_table("connections")
    op.drop_table("commands")
    op.drop_index("audit_by_time", table_name="audit")
    op.drop_index("audit_by_subject", table_name="audit")
    op.drop_index("audit_by_actor", table_name="audit")
    op.drop_table("audit")
