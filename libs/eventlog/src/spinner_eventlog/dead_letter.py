"""Foreign records that can't be read: kept as they were in topic `dead_letters`, counted, and passed by.

The headers say where a record came from and why it is there; its own headers follow under `origin-`. The key is
`topic/partition/offset`, so a letter that was written twice (by a consumer without transactions that died in between)
can be recognised.
"""

from __future__ import annotations

import logging
import time

from spinner_eventlog.interface import Outgoing, Poison, Producer, Record
from spinner_eventlog.telemetry import DEAD_LETTERS

logger = logging.getLogger("spinner_eventlog.dead_letter")

TOPIC = "dead_letters"
_MAX_REASON = 1000
_WARN_EVERY_SECONDS = 1.0
_last_warning = {"at": 0.0}


def dead_letter(record: Record, reason: str) -> Outgoing:
    """The letter for `record`: exactly one if written in the transaction that commits the record's offset.

    Counts it in `spinner_dead_letters_total`, and logs a warning (at most one a second).
    """
    DEAD_LETTERS.labels(record.topic).inc()
    now = time.monotonic()
    if now - _last_warning["at"] >= _WARN_EVERY_SECONDS:
        _last_warning["at"] = now
        logger.warning("dead letter: %s[%d]@%d: %s", record.topic, record.partition, record.offset, reason)
    headers = {f"origin-{name}": text for name, text in record.headers.items()}
    headers |= {
        "origin-topic": record.topic,
        "origin-partition": str(record.partition),
        "origin-offset": str(record.offset),
        "origin-key": record.key,
        "reason": reason[:_MAX_REASON],
    }
    key = f"{record.topic}/{record.partition}/{record.offset}"
    return Outgoing(TOPIC, key, None, headers=headers, raw=record.value if record.value is not None else b"")


class DeadLetters:
    """For consumers without transactions: at least once.

    Call `put` for the poison, then commit offsets only after `producer.flush()`.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def put(self, record: Record, poison: Poison | str) -> None:
        """Queues the letter; doesn't block."""
        self._producer.send(dead_letter(record, poison.reason if isinstance(poison, Poison) else poison))
