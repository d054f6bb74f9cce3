"""Alembic migrations of the views; run when the gateway starts."""
