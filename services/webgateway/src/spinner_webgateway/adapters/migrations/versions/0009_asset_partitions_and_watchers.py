"""Partition keys of runs and of assets' events; watchers of assets; when assets were no longer fresh."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, long_text, wide_text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("partition_key", wide_text(250), nullable=False, server_default=""))
    op.add_column("asset_events", sa.Column("partition_key", wide_text(250), nullable=False, server_default=""))
    op.add_column("asset_events", sa.Column("watcher", ascii_text(250), nullable=False, server_default=""))
    op.create_table(
        "asset_partitions",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("partition_hash", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("partition_key", wide_text(250), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset_key", "partition_hash"),
    )
    op.create_index("asset_partitions_by_time", "asset_partitions", ["asset_key", "time"])
    op.create_table(
        "asset_watchers",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("name", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("trigger_class", long_text(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("last_event_time", sa.BigInteger(), nullable=True),
        sa.Column("last_error", long_text(), nullable=False),
        sa.Column("last_error_time", sa.BigInteger(), nullable=True),
        sa.Column("executor", wide_text(250), nullable=False),
        sa.PrimaryKeyConstraint("asset_key", "name"),
    )
    op.create_table(
        "asset_stales",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("dag_id", ascii_text(250), nullable=False),
        sa.Column("run_id", ascii_text(250), nullable=False),
        sa.Column("stale_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset_key"),
    )


def downgrade() -> None:
    for table in ("asset_stales", "asset_watchers", "asset_partitions"):
        op.drop_table(table)
    for table, column in (("asset_events", "watcher"), ("asset_events", "partition_key"), ("runs", "partition_key")):
        op.drop_column(table, column)
