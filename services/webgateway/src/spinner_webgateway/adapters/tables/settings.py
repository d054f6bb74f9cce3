"""What people set: pools, variables, connections, memory of tasks, what portals keep; and who did what."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Index, Integer, Table

from spinner_webgateway.adapters.tables.columns import (
    ascii_text,
    content,
    key,
    long_text,
    metadata,
    needed,
    time_column,
    wide_text,
)

pools = Table(
    "pools",
    metadata,
    key("name", wide_text(250)),
    needed("slots", Integer),
    needed("include_deferred", Boolean),
    needed("description", long_text()),
)

variables = Table(
    "variables",
    metadata,
    key("name", wide_text(250)),
    needed("value", long_text()),
    needed("encrypted", Boolean),
    needed("description", long_text()),
)

connections = Table(
    "connections",
    metadata,
    key("connection_id", wide_text(250)),
    needed("type", wide_text(100)),
    needed("host", long_text()),
    needed("port", Integer),
    needed("schema", long_text()),
    needed("login", long_text()),
    needed("encrypted_password", long_text()),
    needed("encrypted_extra", long_text()),
    needed("description", long_text()),
)

task_resources = Table(
    "task_resources",
    metadata,
    key("dag_id", ascii_text(250)),
    key("task_id", ascii_text(250)),
    needed("memory_request_bytes", BigInteger),
    needed("memory_limit_bytes", BigInteger),
    time_column("reset_time"),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
)

portal = Table(
    "portal",
    metadata,
    key("subject", wide_text(250)),
    needed("kind", wide_text(100)),
    needed("value", content()),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
)

audit = Table(
    "audit",
    metadata,
    key("event_id", ascii_text(250)),
    time_column("time", nullable=False),
    needed("actor", wide_text(250)),
    needed("via", wide_text(100)),
    needed("action", wide_text(100)),
    needed("subject", wide_text(520)),
    needed("result", wide_text(40)),
    needed("details", JSON),
    needed("request_id", wide_text(250)),
    Index("audit_by_time", "time"),
    Index("audit_by_subject", "subject", "time"),
    Index("audit_by_actor", "actor", "time"),
)
