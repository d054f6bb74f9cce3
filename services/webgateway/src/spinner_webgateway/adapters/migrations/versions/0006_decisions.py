"""What tasks ask people, and their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import ascii_text, long_text, wide_text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("dag_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("run_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("task_id", ascii_text(250), autoincrement=False, nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", ascii_text(20), nullable=False),
        sa.Column("kind", ascii_text(20), nullable=False),
        sa.Column("subject", long_text(), nullable=False),
        sa.Column("body", long_text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("defaults", sa.JSON(), nullable=False),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("assignees", sa.JSON(), nullable=False),
        sa.Column("requested_time", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("chosen_options", sa.JSON(), nullable=False),
        sa.Column("params_input", sa.JSON(), nullable=False),
        sa.Column("decided_by", wide_text(250), nullable=False),
        sa.Column("decided_time", sa.BigInteger(), nullable=True),
        sa.Column("note", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "run_id", "task_id", "map_index", "try_number"),
    )
    op.create_index("decisions_by_state", "decisions", ["state", "requested_time"])
