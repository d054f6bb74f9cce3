"""Failures of one cause are listed newest first."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("diagnoses_by_fingerprint", table_name="diagnoses")
    op.create_index("diagnoses_by_fingerprint", "diagnoses", ["fingerprint", "time"])


def downgrade() -> None:
    op.drop_index("diagnoses_by_fingerprint", table_name="diagnoses")
    op.create_index("diagnoses_by_fingerprint", "diagnoses", ["fingerprint"])
