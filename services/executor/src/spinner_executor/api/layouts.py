"""Definitions of computed layouts (A5) as the executor publishes them: stamped, versioned by content."""

from __future__ import annotations

import hashlib
from datetime import datetime

from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1.common_pb2 import Placement
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.orders.v1.orders_pb2 import TaskOrder


def content_version(definition: DagDefinition) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the definition without version, parsed_time and bundle.version."""
    bare = DagDefinition()
    bare.CopyFrom(definition)
    bare.ClearField("version")
    bare.ClearField("parsed_time")
    if bare.HasField("bundle"):
        bare.bundle.ClearField("version")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()[:16]


def layout_record(definition: DagDefinition, order: TaskOrder, placement: Placement, now: datetime) -> Outgoing:
    """Stamps `definition` with the facts of the run that it was computed for; returns its record."""
    definition.dag_id = order.try_key.dag_id
    definition.placement.CopyFrom(placement)
    definition.bundle.CopyFrom(order.bundle)
    definition.relative_path = definition.relative_path or order.relative_path
    definition.runtime = definition.runtime or order.runtime
    definition.dynamic_source_version = order.version
    definition.parsed_time.FromDatetime(now)
    definition.version = content_version(definition)
    return Outgoing(
        "workflow_definitions",
        f"{definition.dag_id}@{definition.version}",
        definition,
        headers={
            "spinner-cluster": placement.cluster,
            "spinner-tier": str(placement.tier),
            "spinner-partition": str(placement.partition),
            "spinner-dag-id": definition.dag_id,
        },
    )
