"""Writes the audit trail: one event for everything that a person or program did or tried to do."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
from spinner_eventlog.interface import Outgoing, Producer
from spinner_proto.portal.v1 import portal_pb2

from spinner_webgateway.domain.who import Caller
from spinner_webgateway.domain.words import timestamp


class AuditTrail:
    """Appends to audit_events. Thread-safe; doesn't block."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def write(
        self, caller: Caller, action: str, subject: str, result: str, details: dict[str, Any], request_id: str
    ) -> None:
        """`result` is "accepted", "rejected" or "denied"; details never hold secrets."""
        event = portal_pb2.AuditEvent(
            event_id=str(uuid.uuid4()),
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
            action=action,
            subject=subject[:520],
            result=result,
            details_json=orjson.dumps(details, default=str).decode() if details else "",
            request_id=request_id,
        )
        self._producer.send(Outgoing("audit_events", caller.name, event))
