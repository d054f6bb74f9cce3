"""What services say of their own work: answers to commands, owners of partitions, measured memory."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, Table

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

commands = Table(
    "commands",
    metadata,
    key("request_id", ascii_text(250)),
    needed("dag_id", ascii_text(250)),
    needed("accepted", Boolean),
    needed("code", wide_text(100)),
    needed("message", long_text()),
    needed("run_id", ascii_text(250)),
    needed("task_count", Integer),
    time_column("time", nullable=False),
    Column("plan", content()),
)

partition_owners = Table(
    "partition_owners",
    metadata,
    key("name", ascii_text(250)),
    needed("address", wide_text(250)),
    time_column("time", nullable=False),
)

task_usage = Table(
    "task_usage",
    metadata,
    key("dag_id", ascii_text(250)),
    key("task_id", ascii_text(250)),
    needed("samples", JSON),
    needed("configured_request_bytes", BigInteger),
    needed("configured_limit_bytes", BigInteger),
    needed("learned_request_bytes", BigInteger),
    needed("raised_limit_bytes", BigInteger),
    needed("next_request_bytes", BigInteger),
    needed("next_limit_bytes", BigInteger),
    needed("next_source", ascii_text(20)),
    time_column("time", nullable=False),
)
