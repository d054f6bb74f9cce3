"""Runs migrations on the connection that `database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from spinner_webgateway.adapters.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="views_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
