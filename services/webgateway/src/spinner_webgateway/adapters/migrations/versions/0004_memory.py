"""What tasks use and ask for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, wide_text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "task_usage",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("configured_request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("configured_limit_bytes", sa.BigInteger(), nullable=False),
        sa.Column("learned_request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("raised_limit_bytes", sa.BigInteger(), nullable=False),
        sa.Column("next_request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("next_limit_bytes", sa.BigInteger(), nullable=False),
        sa.Column("next_source", ascii_text(20), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "task_id"),
    )
    op.create_table(
        "task_resources",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("memory_request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("memory_limit_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reset_time", sa.BigInteger(), nullable=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("actor", wide_text(250), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "task_id"),
    )
    op.add_column("tries", sa.Column("memory_request_bytes", sa.BigInteger(), nullable=True))
    op.add_column("tries", sa.Column("memory_limit_bytes", sa.BigInteger(), nullable=True))
    op.add_column("tries", sa.Column("memory_source", ascii_text(20), nullable=True))
