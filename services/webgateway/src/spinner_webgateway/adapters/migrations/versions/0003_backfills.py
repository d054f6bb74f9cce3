"""Backfills and their intervals; the backfill of a run; the plan in the answer to a dry run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, content, long_text, wide_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("backfill_id", ascii_text(250), nullable=False, server_default=""))
    op.add_column("commands", sa.Column("plan", content(), nullable=True))
    op.create_table(
        "backfills",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("backfill_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("reason", long_text(), nullable=False),
        sa.Column("from_date", sa.BigInteger(), nullable=False),
        sa.Column("to_date", sa.BigInteger(), nullable=False),
        sa.Column("run_order", ascii_text(20), nullable=False),
        sa.Column("reprocess_behavior", ascii_text(20), nullable=False),
        sa.Column("max_active_runs", sa.Integer(), nullable=False),
        sa.Column("task_ids", sa.JSON(), nullable=False),
        sa.Column("conf_key", long_text(), nullable=False),
        sa.Column("conf", content(), nullable=False),
        sa.Column("skip_callbacks", sa.Boolean(), nullable=False),
        sa.Column("pool", wide_text(250), nullable=False),
        sa.Column("note", long_text(), nullable=False),
        sa.Column("version", ascii_text(250), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("taken_count", sa.Integer(), nullable=False),
        sa.Column("skip_count", sa.Integer(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("dag_id", "backfill_id"),
    )
    op.create_index("backfills_by_time", "backfills", ["created_time", "dag_id", "backfill_id"])
    op.create_table(
        "backfill_intervals",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("backfill_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("logical_date", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data_interval_start", sa.BigInteger(), nullable=True),
        sa.Column("data_interval_end", sa.BigInteger(), nullable=True),
        sa.Column("action", ascii_text(20), nullable=False),
        sa.Column("run_id", ascii_text(250), nullable=False),
        sa.Column("reason", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "backfill_id", "logical_date"),
        sqlite_with_rowid=False,
    )
