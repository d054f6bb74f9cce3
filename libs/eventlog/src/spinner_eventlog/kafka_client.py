"""What all Kafka clients of this package share: tuning, and the translation of Kafka's errors into ours."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from spinner_eventlog.interface import Fenced, Transient

logger = logging.getLogger("spinner_eventlog.kafka")


def _soften(record: logging.LogRecord) -> bool:
    """What the client calls critical (being fenced, say) also reaches the caller, who knows how grave it is."""
    if record.levelno > logging.WARNING:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


logger.addFilter(_soften)

Config = dict[str, Any]

_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times in milliseconds, sizes in bytes.

    `retry_backoff_ms` 1 makes a transaction with offsets cost 2.2 ms instead of 100 ms: the coordinator answers the
    first try with "concurrent transaction" and librdkafka would wait its default of 100 ms. `transaction_timeout_ms` is
    how long a dead writer without a successor can hold back read_committed readers.
    """

    linger_ms: float = 0.0
    retry_backoff_ms: int = 1
    transaction_timeout_ms: int = 15_000
    fetch_bytes: int = 8 * 1024 * 1024
    queued_kbytes: int = 32 * 1024
    max_request_bytes: int = 10 * 1024 * 1024


def base_config(bootstrap: str, client_id: str) -> Config:
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client_id,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "socket.keepalive.enable": True,
        # "rebootstrap" (the default) ends the handle of a broker that was away, and a transaction that adds offsets
        # then waits for ever for its group coordinator's ended handle, whatever its time-out (librdkafka 2.16).
        "metadata.recovery.strategy": "none",
        "logger": logger,
        "error_cb": _log_error,
    }


def producer_config(bootstrap: str, client_id: str, tuning: Tuning) -> Config:
    return base_config(bootstrap, client_id) | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": tuning.linger_ms,
        "compression.type": "none",  # values are compressed one by one already
        "retry.backoff.ms": tuning.retry_backoff_ms,
        "retry.backoff.max.ms": 200,
        "message.max.bytes": tuning.max_request_bytes,
        "partitioner": "murmur2_random",
        "topic.metadata.propagation.max.ms": 3_000,  # how long an unknown topic is waited for
    }


def consumer_config(bootstrap: str, client_id: str, group_id: str, tuning: Tuning) -> Config:
    return base_config(bootstrap, client_id) | {
        "group.id": group_id,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": tuning.fetch_bytes,
        "queued.min.messages": 200_000,
        "queued.max.messages.kbytes": tuning.queued_kbytes,
        "fetch.queue.backoff.ms": 5,  # default 1 s: a reader that filled its queue would idle
        "fetch.error.backoff.ms": 20,
        "retry.backoff.ms": 10,
    }


def is_useless(error: KafkaError) -> bool:
    """Whether a transactional writer can write nothing more: fenced, or broken, as after the broker lost its state.

    Either way only a new owner's opening tells what was written, so both are Fenced.
    """
    return error.code() in _FENCED or error.fatal()


def translated(error: KafkaError, doing: str) -> Exception:
    """The exception of our interface for a Kafka error met while `doing` something."""
    if error.code() in _FENCED:
        return Fenced(f"{doing}: {error.str()}")
    return Transient(f"{doing}: {error.name()}: {error.str()}")


def error_of(exception: KafkaException) -> KafkaError:
    error: KafkaError = exception.args[0]
    return error


def _log_error(error: KafkaError) -> None:
    logger.warning("kafka client: %s: %s", error.name(), error.str())
