"""Which topics feed which tables: a record of any topic → needed rows and row changes. Pure.

`Reading` is what the projector makes of a log record; its message is None for a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.diagnoses.v1 import diagnoses_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.executions.v1 import executions_pb2
from spinner_proto.portal.v1 import portal_pb2
from spinner_proto.scheduler.v1 import scheduler_pb2
from spinner_proto.usage.v1 import usage_pb2

from spinner_webgateway.domain import facts, projection
from spinner_webgateway.domain.projection import Position
from spinner_webgateway.domain.rows import Key, Need, Row, WorkingSet
from spinner_webgateway.domain.unreadable import Unreadable

EVENTS = "workflow_events"


@dataclass(frozen=True, slots=True)
class Reading:
    """One decoded record. `topic` is the base name, `cell` what follows it."""

    topic: str
    cell: str
    partition: int
    offset: int
    key: str
    message: Any | None


@dataclass(frozen=True, slots=True)
class Fact:
    """A topic whose records are whole rows of one table."""

    message: type[Message]
    table: str
    row: Callable[[str, Any], Row]
    key: Callable[[str], Key] | None
    """From a tombstone's key to the row's; None: the topic has no tombstones."""


FACTS: dict[str, Fact] = {
    "workflow_definitions": Fact(
        definitions_pb2.DagDefinition, "definitions", lambda _, m: facts.definition(m), facts.definition_key
    ),
    "workflow_parse_errors": Fact(
        definitions_pb2.ParseError, "parse_errors", facts.parse_error, lambda key: (facts.error_key(key),)
    ),
    "parse_error_history": Fact(definitions_pb2.ParseErrorEnded, "parse_error_history", facts.parse_error_ended, None),
    "failure_diagnoses": Fact(
        diagnoses_pb2.FailureDiagnosis, "diagnoses", lambda _, m: facts.diagnosis(m), facts.try_key
    ),
    "workflow_job_executions": Fact(
        executions_pb2.JobExecutionRecord, "executions", lambda _, m: facts.execution(m), None
    ),
    "audit_events": Fact(portal_pb2.AuditEvent, "audit", lambda _, m: facts.audit(m), None),
    "task_usage": Fact(usage_pb2.TaskUsage, "task_usage", lambda _, m: facts.task_usage(m), facts.task_key),
    "task_resources": Fact(
        usage_pb2.TaskResources, "task_resources", lambda _, m: facts.task_resources(m), facts.task_key
    ),
    "pools": Fact(portal_pb2.Pool, "pools", lambda _, m: facts.pool(m), lambda key: (key,)),
    "variables": Fact(portal_pb2.Variable, "variables", lambda _, m: facts.variable(m), lambda key: (key,)),
    "connections": Fact(portal_pb2.Connection, "connections", lambda _, m: facts.connection(m), lambda key: (key,)),
    "portal_events": Fact(portal_pb2.PortalEvent, "portal", lambda _, m: facts.portal(m), lambda key: (key,)),
    "partition_owners": Fact(
        scheduler_pb2.PartitionOwner, "partition_owners", lambda _, m: facts.partition_owner(m), lambda key: (key,)
    ),
}


def message_type(topic: str) -> type[Message]:
    """Returns the message of a topic's records; raises KeyError for a topic that feeds no view."""
    return events_pb2.WorkflowEvents if topic == EVENTS else FACTS[topic].message


def needs(reading: Reading) -> Iterator[Need]:
    """Yields the rows to load before `apply`."""
    if reading.topic == EVENTS and reading.message is not None:
        yield from projection.needs(reading.message)


def apply(rows: WorkingSet, reading: Reading) -> None:
    """Applies one record; raises Unreadable before anything is changed."""
    if reading.topic == EVENTS:
        if reading.message is None:
            raise Unreadable("tombstone in a topic of events")
        projection.apply(rows, reading.message, Position(reading.cell, reading.partition, reading.offset))
        return
    fact = FACTS[reading.topic]
    if reading.message is None:
        if fact.key is None:
            raise Unreadable(f"tombstone in {reading.topic}, which is never compacted")
        rows.remove(fact.table, fact.key(reading.key))
    else:
        rows.put(fact.table, fact.row(reading.key, reading.message))
