"""Writers: an idempotent one, and one whose writes and consumer offsets commit together."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client
from confluent_kafka import TopicPartition as KafkaPartition

from spinner_eventlog import topics
from spinner_eventlog.envelope import Envelope, Headers
from spinner_eventlog.interface import (
    Delivered,
    Fenced,
    GroupConsumer,
    Outgoing,
    RecordTooLarge,
    TopicPartition,
    Transient,
)
from spinner_eventlog.kafka_client import Config, error_of, is_useless, translated

logger = logging.getLogger("spinner_eventlog.kafka")

_COMMIT_SECONDS = 30.0
Wrapped = tuple[bytes, bytes | None, Headers]
_USELESS = "another owner took over, or the broker no longer knows this writer's transaction"


class KafkaProducer:
    """An idempotent producer with a thread that serves delivery reports. Thread-safe."""

    def __init__(self, config: Config, envelope: Envelope, prefix: str) -> None:
        self._client = Client(config)
        self._envelope = envelope
        self._prefix = prefix
        self._lock = threading.Lock()
        self._failed: Exception | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    def send(self, outgoing: Outgoing, on_delivery: Callable[[Exception | None, int], None] | None = None) -> None:
        """Queues a record; raises RecordTooLarge, or Transient when the queue is full or there is no such topic."""
        self._queue(outgoing, self._wrapped(outgoing), on_delivery)

    def send_together(self, records: Sequence[tuple[Outgoing, Delivered]]) -> None:
        """See interface.Producer."""
        wrapped = []
        for outgoing, told in records:
            try:
                wrapped.append((outgoing, self._wrapped(outgoing), told))
            except RecordTooLarge as refused:
                told(refused, -1)
        # The client sends as soon as it has something, so these calls follow each other closely.
        for outgoing, content, told in wrapped:
            try:
                self._queue(outgoing, content, told)
            except (Transient, Fenced) as refused:
                told(refused, -1)

    def _wrapped(self, outgoing: Outgoing) -> Wrapped:
        return self._envelope.wrap(outgoing, topics.max_message_bytes(outgoing.topic))

    def _queue(self, outgoing: Outgoing, wrapped: Wrapped, on_delivery: Delivered | None) -> None:
        key, value, headers = wrapped

        def delivered(error: KafkaError | None, message: Message) -> None:
            failure = translated(error, f"writing to {outgoing.topic}") if error is not None else None
            if failure is not None:
                with self._lock:
                    self._failed = failure
            if on_delivery is not None:
                on_delivery(failure, -1 if failure else message.offset() or 0)

        try:
            _produce(self._client, self._prefix, outgoing, key, value, headers, delivered)
        except BufferError as error:
            raise Transient(
                f"the queue of unsent records is full; the broker is away? (topic {outgoing.topic})"
            ) from error
        except KafkaException as error:
            raise translated(error_of(error), f"writing to {outgoing.topic}") from error

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Blocks until all records queued so far are acknowledged; raises Transient when some were not."""
        left = self._client.flush(timeout_seconds)
        with self._lock:
            failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        if left:
            raise Transient(f"{left} records are not acknowledged after {timeout_seconds:g} s")

    def close(self) -> None:
        """Flushes for up to 5 s and stops. Idempotent."""
        if self._closed.is_set():
            return
        self._client.flush(5.0)
        self._closed.set()
        self._thread.join(timeout=2.0)

    def _serve(self) -> None:
        _connect(self._client)
        while not self._closed.is_set():
            try:
                self._client.poll(0.1)
            except KafkaException as exception:
                with self._lock:
                    self._failed = translated(error_of(exception), "writing")
                self._closed.wait(0.1)


class KafkaTransactionalProducer:
    """One writer under one transactional id; used by one thread at a time."""

    def __init__(
        self,
        config: Config,
        transactional_id: str,
        envelope: Envelope,
        prefix: str,
        partition_count: Callable[[str], int],
        timeout_seconds: float,
    ) -> None:
        self._client = Client(config)
        self._id = transactional_id
        self._envelope = envelope
        self._prefix = prefix
        self._partition_count = partition_count
        self._known_topics: set[str] = set()
        self._fenced = False
        # Whether a transaction is open, by `append`.
        self._appending = False
        _connect(self._client)
        self._resumed("fencing earlier writers", lambda wait: self._client.init_transactions(wait), timeout_seconds)

    def commit(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[TopicPartition, int] | None = None,
        consumer: GroupConsumer | None = None,
    ) -> list[int]:
        """See interface.TransactionalProducer. After Fenced it is useless; after Transient it may be used again.

        Offsets are committed without the group member's epoch: this transactional id is the fence, and a member whose
        epoch just moved by an unrelated rebalance should not lose its transaction.
        """
        wrapped = self._wrapped(records)
        written: list[int] = [-1] * len(records)
        failures: list[KafkaError] = []
        try:
            self._write(records, wrapped, written, failures)
            if offsets:
                self._send_offsets(offsets, consumer)
            self._resumed("committing", lambda wait: self._client.commit_transaction(wait), _COMMIT_SECONDS)
        except (KafkaException, Transient, BufferError) as error:
            self._abort(error, failures)
        self._appending = False
        with contextlib.suppress(KafkaException):  # fenced since; the next commit says so
            self._client.poll(0)
        return written

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """See interface.TransactionalProducer."""
        wrapped = self._wrapped(records)
        written: list[int] = [-1] * len(records)
        failures: list[KafkaError] = []
        try:
            self._write(records, wrapped, written, failures)
            deadline = time.monotonic() + _COMMIT_SECONDS
            # Not `flush`: a fence is told there as a SystemError of a callback.
            while -1 in written and not failures and time.monotonic() < deadline:
                self._client.poll(1.0)
            if -1 in written:
                raise Transient(f"{written.count(-1)} of {len(records)} records were not written")
        except (KafkaException, Transient, BufferError) as error:
            self._abort(error, failures)
        return written

    def _wrapped(self, records: Sequence[Outgoing]) -> list[Wrapped]:
        if self._fenced:
            raise Fenced(f"{self._id}: {_USELESS}")
        for record in records:
            if record.topic not in self._known_topics:
                self._partition_count(record.topic)  # an unknown topic would only show as a time-out
                self._known_topics.add(record.topic)
        return [self._envelope.wrap(record, topics.max_message_bytes(record.topic)) for record in records]

    def _write(
        self,
        records: Sequence[Outgoing],
        wrapped: Sequence[Wrapped],
        written: list[int],
        failures: list[KafkaError],
    ) -> None:
        """Produces in the open transaction, or in a new one. Acknowledgements fill `written` and `failures`."""

        def delivered(at: int, error: KafkaError | None, message: Message) -> None:
            if error is None:
                written[at] = message.offset() or 0
            else:
                failures.append(error)

        if not self._appending:
            self._client.begin_transaction()
            self._appending = True
        for at, (record, (key, value, headers)) in enumerate(zip(records, wrapped, strict=True)):
            produced = partial(delivered, at)
            try:
                _produce(self._client, self._prefix, record, key, value, headers, produced)
            except BufferError:
                self._client.flush(_COMMIT_SECONDS)
                _produce(self._client, self._prefix, record, key, value, headers, produced)

    def close(self) -> None:
        """Releases the client; an open transaction is left to the next owner or the time-out. Idempotent."""
        with contextlib.suppress(KafkaException):  # a fenced client reports that once more
            self._client.purge()
            self._client.poll(0)

    def _send_offsets(self, offsets: Mapping[TopicPartition, int], consumer: GroupConsumer | None) -> None:
        metadata = getattr(consumer, "group_metadata", None)
        if metadata is None:
            raise TypeError("offsets need the KafkaGroupConsumer that read the records")
        positions = [
            KafkaPartition(self._prefix + topic, partition, offset) for (topic, partition), offset in offsets.items()
        ]
        self._resumed(
            "adding offsets",
            lambda wait: self._client.send_offsets_to_transaction(positions, metadata, wait),
            _COMMIT_SECONDS,
        )

    def _resumed(self, doing: str, call: Callable[[float], None], seconds: float) -> None:
        """Calls again after retriable errors (librdkafka resumes the same operation), for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                call(max(0.1, deadline - time.monotonic()))
                return
            except KafkaException as exception:
                error = error_of(exception)
                if is_useless(error):
                    self._fenced = True
                    raise Fenced(f"{self._id}: {doing}: {error.str()}: {_USELESS}") from exception
                if error.txn_requires_abort():
                    raise
                if not error.retriable() or time.monotonic() > deadline:
                    raise translated(error, f"{self._id}: {doing}") from exception
                time.sleep(0.01)

    def _abort(self, cause: Exception, failures: Sequence[KafkaError]) -> None:
        """Ends the transaction without effect and raises what the caller should know."""
        self._appending = False
        errors = [error_of(cause)] if isinstance(cause, KafkaException) else []
        if any(is_useless(error) for error in [*errors, *failures]):
            self._fenced = True
            raise Fenced(f"{self._id}: {_USELESS}") from cause
        try:
            self._resumed("aborting", lambda wait: self._client.abort_transaction(wait), _COMMIT_SECONDS)
        except (KafkaException, Transient) as exception:
            # As after a commit that the broker's absence cut short: librdkafka then takes neither commit nor abort.
            self._fenced = True
            raise Fenced(f"{self._id}: {exception}: {_USELESS}") from exception
        reason = failures[0].str() if failures else str(cause)
        raise Transient(f"{self._id}: transaction aborted: {reason}") from cause


def _connect(client: Client) -> None:
    """Connects now: a producer that asks for its id before it has a connection waits 500 ms until it asks again."""
    with contextlib.suppress(KafkaException):
        client.list_topics(timeout=5.0)


def _produce(
    client: Client,
    prefix: str,
    outgoing: Outgoing,
    key: bytes,
    value: bytes | None,
    headers: Headers,
    on_delivery: Callable[[KafkaError | None, Message], None],
) -> None:
    client.produce(
        prefix + outgoing.topic,
        value=value,
        key=key,
        headers=headers,  # type: ignore[arg-type]
        partition=-1 if outgoing.partition is None else outgoing.partition,
        on_delivery=on_delivery,
    )
