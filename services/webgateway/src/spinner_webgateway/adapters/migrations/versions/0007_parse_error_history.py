"""Parse errors that are over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from spinner_webgateway.adapters.migrations.kinds import long_text, wide_text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "parse_error_history",
        sa.Column("error_key", wide_text(500), autoincrement=False, nullable=False),
        sa.Column("last_updated_time", sa.BigInteger(), autoincrement=False, nullable=False),
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
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("error_key", "last_updated_time"),
    )
    op.create_index("parse_error_history_by_time", "parse_error_history", ["end_time"])


def downgrade() -> None:
    op.drop_table("parse_error_history")
