"""The event log as its users see it; implemented by `kafka.KafkaLog` and `memory.MemoryLog`.

Both implementations pass the same contract suite. A record's value is one serialized protobuf message,
zstd-compressed when that makes it smaller (header `content-encoding`); its type, id, time and trace
context travel as CloudEvents headers (`ce_type`, `ce_id`, `ce_source`, `ce_time`, `traceparent`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
TopicPartition = tuple[str, int]


class Transient(Exception):  # noqa: N818 - named for the next move
    """Try again later: the broker is away, a request timed out."""


class UnknownTopic(Transient):
    """The topic doesn't exist yet."""


class Fenced(Exception):  # noqa: N818
    """Another owner took over, or this writer is broken for good: throw the in-memory partition away and stop writing.

    Who still owns the partition opens it anew.
    """


class RecordTooLarge(Exception):  # noqa: N818
    """Refused before it was written: the record is larger than its topic allows. Says topic, size and limit."""


class Poison(Exception):  # noqa: N818
    """Foreign input that can't be read: goes to the dead-letter topic."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        super().__init__(f"{topic}[{partition}]@{offset}: {reason}")
        self.topic, self.partition, self.offset, self.reason = topic, partition, offset, reason


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. `value` is decompressed; None is a tombstone."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: str
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    _decoded: Message | None = field(default=None, init=False, compare=False, repr=False)

    def decode(self, message_type: type[M]) -> M:
        """Returns the value as `message_type`; raises Poison for a tombstone, another `ce_type`, unreadable bytes.

        A second call returns the same object, so don't change it.
        """
        if isinstance(self._decoded, message_type):
            return self._decoded
        if self.value is None:
            raise Poison(self.topic, self.partition, self.offset, "tombstone where a value was expected")
        stated = self.headers.get("ce_type")
        wanted = message_type.DESCRIPTOR.full_name
        if "content-encoding" in self.headers:  # removed when the value could be decompressed
            encoding = self.headers["content-encoding"]
            raise Poison(self.topic, self.partition, self.offset, f"content-encoding {encoding} can't be undone")
        if stated is not None and stated != wanted:
            raise Poison(self.topic, self.partition, self.offset, f"type {stated}, expected {wanted}")
        message = message_type()
        try:
            message.ParseFromString(self.value)
        except Exception as error:
            raise Poison(self.topic, self.partition, self.offset, f"not a {wanted}: {error}") from error
        object.__setattr__(self, "_decoded", message)
        return message


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write. `value` None is a tombstone. `partition` None: `partition_for(key, count)`.

    `raw`: bytes to write as they are instead of a message, for foreign data (dead letters).
    """

    topic: str
    key: str
    value: Message | None
    partition: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


Delivered = Callable[[Exception | None, int], None]


class Producer(Protocol):
    """Idempotent, ordered per partition. Thread-safe."""

    def send(self, outgoing: Outgoing, on_delivery: Callable[[Exception | None, int], None] | None = None) -> None:
        """Queues a record; doesn't block. Raises RecordTooLarge.

        on_delivery(error, offset) runs on a library thread.
        """

    def send_together(self, records: Sequence[tuple[Outgoing, Delivered]]) -> None:
        """Queues records at once, so that those of a partition share a request. Raises nothing: what can't be queued
        gets its on_delivery on the caller's thread.
        """

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Blocks until all queued records are acknowledged; raises Transient when some are not."""

    def close(self) -> None: ...


class TransactionalProducer(Protocol):
    """One writer under one transactional id. `log.transactional_producer` has fenced all earlier ones."""

    def commit(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[TopicPartition, int] | None = None,
        consumer: GroupConsumer | None = None,
    ) -> list[int]:
        """Writes records and next offsets in one transaction, blocking until committed.

        Returns each record's offset, in order. Raises Fenced, RecordTooLarge, or Transient after an abort. What was
        appended before commits or aborts with it.
        """

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        """Writes records into a transaction that stays open; returns their offsets once the log has them.

        A third of the time of a commit, and as exact for who reads with `uncommitted`: a fenced writer can append no
        more, and what it has appended stays there, whether committed or aborted. Readers of committed records see it
        after the next `commit`, or never. Commit within the transaction's time-out (15 s on Kafka). Raises Fenced,
        RecordTooLarge, or Transient after an abort of all that was appended since the last commit.
        """

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads given partitions from given positions; belongs to no group. Committed records only."""

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        """Returns what is there as soon as anything is; an empty list after the time-out."""

    def at_end(self) -> bool:
        """True when every partition has been read to the end that it had when last asked."""

    def seek(self, topic: str, partition: int, offset: int) -> None: ...
    def position(self, topic: str, partition: int) -> int: ...
    def close(self) -> None: ...


class GroupConsumer(Protocol):
    """Reads the partitions that a consumer group assigns to it. Committed records only."""

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        """As Reader.poll; the group's callbacks run inside it, on the caller's thread."""

    def committed(self, topic: str, partition: int) -> int | None: ...
    def seek(self, topic: str, partition: int, offset: int) -> None: ...
    def pause(self, topic: str, partition: int) -> None: ...
    def resume(self, topic: str, partition: int) -> None: ...
    def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...
    def close(self) -> None: ...


class EventLog(Protocol):
    """Where everything is written. Topics must exist (see `topics.create_topics`)."""

    def producer(self, client_id: str, patience_seconds: float = 300.0) -> Producer:
        """`patience_seconds`: a record not acknowledged for so long gets its on_delivery with Transient, and isn't sent
        from then on. It may be stored even so: if only the acknowledgement was lost.
        """

    def transactional_producer(self, transactional_id: str) -> TransactionalProducer:
        """Blocks until all earlier producers of this id are fenced and their open transactions are ended."""

    def reader(
        self,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str = "earliest",
        tail_only: bool = False,
        read_ahead: bool = True,
    ) -> Reader:
        """`start`: "earliest", "latest", or next offsets; partitions missing there start at the earliest.

        `tail_only`: the caller never asks `at_end` (then an idle reader costs a fifth of the requests). Without
        `read_ahead` the broker is asked only when all that it gave was polled: for who polls seldom and takes much.
        """

    def group_consumer(
        self,
        group_id: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None = None,
        on_revoked: Callable[[list[TopicPartition]], None] | None = None,
        instance_id: str | None = None,
    ) -> GroupConsumer: ...

    def tune_group(self, group_id: str, session_ms: int, heartbeat_ms: int) -> None:
        """Says how long a group's members may be silent and how often they are heard; also for those that joined.

        Raises Transient when the broker doesn't answer, or doesn't allow such values.
        """

    def read_all(self, topic: str, partition: int, start: int = 0, uncommitted: bool = False) -> Iterator[Record]:
        """Every committed record from `start` to the end at the time of the call, tombstones included.

        `uncommitted`: also those of open and aborted transactions (as long as compaction leaves these).
        """

    def read_compacted(self, topic: str, partition: int) -> dict[str, Record]:
        """The latest record of every key, tombstoned keys left out."""

    def partition_count(self, topic: str) -> int: ...
    def end_offset(self, topic: str, partition: int) -> int: ...
    def close(self) -> None: ...


class StateMachine(Protocol):
    """What `loop.PartitionLoop` drives: one per owned partition, made by a factory for each ownership."""

    def restore(self) -> None:
        """Rebuilds the state from the log. Called after earlier owners were fenced, before the first `handle`."""

    def handle(self, records: Sequence[Record], now: datetime) -> list[Outgoing]:
        """Decides on inbox records and all timers due at `now`, evolves the state, and returns what to write.

        Raises nothing for bad input: the loop's `poison` callback is for that.
        """

    def committed(self, offsets: Sequence[int]) -> None:
        """A `handle`'s records are durable at these offsets.

        Called once for each `handle` that was given records or returned some, in order; with the loop's `overlap`
        further ones may come in between.
        """

    def needs_quiet(self) -> bool:
        """With `overlap`: whether the next `handle` must see all earlier ones durable."""

    def next_due(self) -> datetime | None:
        """When `handle` should run even without records."""


def partition_for(key: str, count: int) -> int:
    """Kafka's default partitioner (murmur2, positive, modulo), so that any client finds the same partition."""
    from spinner_eventlog.partitioner import murmur2

    return (murmur2(key.encode()) & 0x7FFFFFFF) % count
