"""The migrations together make the tables that the code uses."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from spinner_webgateway.adapters import database, schema


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    engine = database.open_database(f"sqlite:///{tmp_path}/views.db")
    database.migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "views_version"})
        assert compare_metadata(context, schema.metadata) == []
