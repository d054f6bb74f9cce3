"""Assets, their events and the runs made of them; deadlines; which definitions name assets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, long_text, wide_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("definitions", sa.Column("uses_assets", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "assets",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("name", long_text(), nullable=False),
        sa.Column("update_count", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset_key"),
    )
    op.create_table(
        "asset_events",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("dag_id", ascii_text(250), nullable=False),
        sa.Column("run_id", ascii_text(250), nullable=False),
        sa.Column("task_id", ascii_text(250), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("extra", long_text(), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.PrimaryKeyConstraint("asset_key", "sequence"),
    )
    op.create_table(
        "asset_runs",
        sa.Column("asset_key", ascii_text(64), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asset_key", "sequence", "dag_id", "run_id"),
    )
    op.create_table(
        "deadlines",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("name", wide_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("deadline_time", sa.BigInteger(), nullable=False),
        sa.Column("expected_end_time", sa.BigInteger(), nullable=True),
        sa.Column("median_seconds", sa.Float(), nullable=True),
        sa.Column("run_count", sa.Integer(), nullable=False),
        sa.Column("changed_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "name"),
    )
    op.create_index("deadlines_by_state", "deadlines", ["state", "deadline_time"])


def downgrade() -> None:
    for table in ("deadlines", "asset_runs", "asset_events", "assets"):
        op.drop_table(table)
    op.drop_column("definitions", "uses_assets")
