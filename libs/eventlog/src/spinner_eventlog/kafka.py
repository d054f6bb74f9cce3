"""The event log on a Kafka broker.

`prefix` goes transparently before topic names, group ids and transactional ids, so that tests and several
installations can share a broker. Everything that a log hands out belongs to it and is closed with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from spinner_eventlog.envelope import Envelope
from spinner_eventlog.interface import Record, TopicPartition, Transient, UnknownTopic
from spinner_eventlog.kafka_client import (
    Tuning,
    base_config,
    consumer_config,
    error_of,
    producer_config,
    translated,
)
from spinner_eventlog.kafka_consumers import KafkaGroupConsumer, KafkaReader
from spinner_eventlog.kafka_producers import KafkaProducer, KafkaTransactionalProducer

_METADATA_SECONDS = 60.0

# The broker answers a fetch at the end of a partition after this wait, and only then the reader knows its end;
# an idle tail costs one request each. Records are answered at once in any case.
_REPLAY_WAIT_MS = 5
_READER_WAIT_MS = 500
_TAIL_WAIT_MS = 3000

_STALE_METADATA = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)


class _Closes(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closes)
T = TypeVar("T")
# After a request's own time-out.
_UNANSWERED_SECONDS = 2.0


class KafkaLog:
    """interface.EventLog on Kafka. Thread-safe; what it hands out is as thread-safe as its own docstring says.

    `client_name` names this process in `ce_source` and the broker's logs. Raises Transient when the broker doesn't
    answer within `timeout_seconds`.
    """

    def __init__(
        self,
        bootstrap: str,
        client_name: str,
        prefix: str = "",
        tuning: Tuning | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self._client_name = client_name
        self._tuning = tuning or Tuning()
        self._timeout = timeout_seconds
        self._envelope = Envelope(client_name)
        self._lock = threading.Lock()
        self._admin_client: AdminClient | None = None
        self._counts: dict[str, tuple[int, float]] = {}
        self._open: weakref.WeakSet[_Closes] = weakref.WeakSet()
        # Also at exit: a group member that is not closed would hang the interpreter.
        weakref.finalize(self, _close_all, self._open)

    def producer(self, client_id: str, patience_seconds: float = 300.0) -> KafkaProducer:
        config = producer_config(self.bootstrap, client_id, self._tuning) | {
            "message.timeout.ms": int(1000 * patience_seconds)
        }
        return self._keep(KafkaProducer(config, self._envelope, self.prefix))

    def transactional_producer(self, transactional_id: str) -> KafkaTransactionalProducer:
        """See interface.EventLog; raises Transient, or Fenced when yet another owner came at the same time."""
        full_id = self.prefix + transactional_id
        config = producer_config(self.bootstrap, f"{self._client_name}-{transactional_id}", self._tuning) | {
            "transactional.id": full_id,
            "transaction.timeout.ms": self._tuning.transaction_timeout_ms,
            "message.timeout.ms": self._tuning.transaction_timeout_ms,
        }
        return self._keep(
            KafkaTransactionalProducer(
                config, full_id, self._envelope, self.prefix, self.partition_count, self._timeout
            )
        )

    def reader(
        self,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str = "earliest",
        tail_only: bool = False,
        read_ahead: bool = True,
    ) -> KafkaReader:
        return self._reader(partitions, start, _TAIL_WAIT_MS if tail_only else _READER_WAIT_MS, read_ahead=read_ahead)

    def group_consumer(
        self,
        group_id: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None = None,
        on_revoked: Callable[[list[TopicPartition]], None] | None = None,
        instance_id: str | None = None,
    ) -> KafkaGroupConsumer:
        full_id = self.prefix + group_id
        config = consumer_config(self.bootstrap, self._client_name, full_id, self._tuning)
        if instance_id is not None:
            config["group.instance.id"] = instance_id
        return self._keep(
            KafkaGroupConsumer(
                config,
                self.prefix,
                topics,
                on_assigned,
                on_revoked,
                lambda topic, partition: self.committed_offset(group_id, topic, partition),
            )
        )

    def tune_group(self, group_id: str, session_ms: int, heartbeat_ms: int) -> None:
        """See interface.EventLog. The broker's `group.consumer.min.…` bounds hold."""
        values = {"consumer.session.timeout.ms": session_ms, "consumer.heartbeat.interval.ms": heartbeat_ms}
        entries = [
            ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET) for name, value in values.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, self.prefix + group_id, incremental_configs=entries)
        try:
            for future in self._admin().incremental_alter_configs([resource], request_timeout=self._timeout).values():
                self._answer(future)
        except KafkaException as exception:
            raise translated(error_of(exception), f"setting the session of group {group_id}") from exception

    def read_all(self, topic: str, partition: int, start: int = 0, uncommitted: bool = False) -> Iterator[Record]:
        end = self._end_offset(topic, partition, uncommitted)
        if start >= end:
            return
        where = {(topic, partition): start} if start else "earliest"
        reader = self._reader([(topic, partition)], where, _REPLAY_WAIT_MS, uncommitted)
        try:
            while not reader.at_end():
                for record in reader.poll(10_000, 0.5):
                    if record.offset >= end:
                        return
                    yield record
                    if record.offset == end - 1:
                        return
        finally:
            reader.close()

    def read_compacted(self, topic: str, partition: int) -> dict[str, Record]:
        latest: dict[str, Record] = {}
        for record in self.read_all(topic, partition):
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record
        return latest

    def partition_count(self, topic: str) -> int:
        """Raises UnknownTopic for one that doesn't exist. The answer may be a minute old."""
        known = self._counts.get(topic)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        try:
            found = self._admin().list_topics(self.prefix + topic, timeout=self._timeout).topics[self.prefix + topic]
        except KafkaException as exception:
            raise translated(error_of(exception), f"looking up {topic}") from exception
        if found.error is not None or not found.partitions:
            raise UnknownTopic(
                f"topic {self.prefix}{topic} doesn't exist at {self.bootstrap}: create it (topics.create_topics)"
            )
        count = len(found.partitions)
        self._counts[topic] = (count, time.monotonic() + _METADATA_SECONDS)
        return count

    def end_offset(self, topic: str, partition: int) -> int:
        """The offset after the last committed record (and its commit marker)."""
        return self._end_offset(topic, partition, uncommitted=False)

    def _end_offset(self, topic: str, partition: int, uncommitted: bool) -> int:
        isolation = IsolationLevel.READ_UNCOMMITTED if uncommitted else IsolationLevel.READ_COMMITTED
        at = KafkaPartition(self.prefix + topic, partition)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
                futures = self._admin().list_offsets(
                    {at: latest}, isolation_level=isolation, request_timeout=self._timeout
                )
                return int(self._answer(futures[at]).offset)
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() not in _STALE_METADATA or time.monotonic() > deadline:
                    raise translated(error, f"looking up the end of {topic}[{partition}]") from exception
            self._renew_admin()
            time.sleep(0.05)

    def committed_offset(self, group_id: str, topic: str, partition: int) -> int | None:
        """A group's next offset, after waiting for pending transactions; None when it has none."""
        request = ConsumerGroupTopicPartitions(self.prefix + group_id, [KafkaPartition(self.prefix + topic, partition)])
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                futures = self._admin().list_consumer_group_offsets(
                    [request], require_stable=True, request_timeout=self._timeout
                )
                (answer,) = futures.values()
                (found,) = self._answer(answer).topic_partitions
                error = found.error
            except KafkaException as exception:
                error = error_of(exception)
            if error is None:
                return int(found.offset) if found.offset >= 0 else None
            if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            if error.code() != KafkaError.UNSTABLE_OFFSET_COMMIT or time.monotonic() > deadline:
                raise translated(error, f"looking up the offset of {group_id}")
            time.sleep(0.002)  # a transaction's markers are being written

    def close(self) -> None:
        """Closes everything that this log handed out. Idempotent."""
        _close_all(self._open)

    def _reader(
        self,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str,
        wait_ms: int,
        uncommitted: bool = False,
        read_ahead: bool = True,
    ) -> KafkaReader:
        config = consumer_config(self.bootstrap, self._client_name, f"{self.prefix}reader", self._tuning)
        config["fetch.wait.max.ms"] = wait_ms
        if not read_ahead:
            config["queued.min.messages"] = 1  # of all partitions together: they share the queue
        if uncommitted:
            config["isolation.level"] = "read_uncommitted"
        return self._keep(KafkaReader(config, self.prefix, partitions, start))

    def _keep(self, client: C) -> C:
        with self._lock:
            self._open.add(client)
        return client

    def _answer(self, future: Future[T]) -> T:
        """An admin request's answer. Some get none, not even their time-out, when the broker restarts meanwhile."""
        try:
            return future.result(self._timeout + _UNANSWERED_SECONDS)
        except TimeoutError as error:
            self._renew_admin()
            raise Transient(f"the admin client at {self.bootstrap} gave no answer") from error

    def _renew_admin(self) -> None:
        """The admin client keeps the leader's epoch from before a broker's restart for ever, and is refused with it."""
        with self._lock:
            self._admin_client = None

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._admin_client is None:
                self._admin_client = AdminClient(base_config(self.bootstrap, f"{self._client_name}-admin"))
            return self._admin_client


def _close_all(clients: weakref.WeakSet[_Closes]) -> None:
    while clients:
        with contextlib.suppress(KeyError, RuntimeError):  # emptied meanwhile; closed by its user already
            clients.pop().close()
