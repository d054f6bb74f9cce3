"""What a try read and wrote."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tries", sa.Column("read_bytes", sa.BigInteger(), nullable=True))
    op.add_column("tries", sa.Column("written_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("tries", "written_bytes")
    op.drop_column("tries", "read_bytes")
