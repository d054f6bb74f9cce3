"""The event log in one process: the twin that tests and simulators use instead of Kafka.

Passes the same contract suite as KafkaLog. Without threads it is deterministic; `wait=False` makes a poll without
records return at once, so that a simulator can drive everything with a virtual clock.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from spinner_eventlog import topics
from spinner_eventlog.envelope import Envelope
from spinner_eventlog.interface import (
    Delivered,
    Fenced,
    GroupConsumer,
    Outgoing,
    Record,
    RecordTooLarge,
    TopicPartition,
    Transient,
    partition_for,
)
from spinner_eventlog.memory_broker import MemoryBroker, Stored


class MemoryLog:
    """interface.EventLog in memory.

    `clock`: stamps records (default: the wall clock); `clock_ms` is the same in ms, for who asks very often.
    `wait`: whether polls block up to the time-out. `before_commit`: called with the transactional id before each
    commit; what it raises (Transient, for example) aborts the transaction.
    """

    def __init__(
        self,
        client_name: str = "memory",
        clock: Callable[[], datetime] | None = None,
        wait: bool = True,
        before_commit: Callable[[str], None] | None = None,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        if clock_ms is None:

            def clock_ms() -> int:
                return int(clock().timestamp() * 1000) if clock is not None else time.time_ns() // 1_000_000

        self.broker = MemoryBroker(clock_ms)
        self.wait = wait
        self.before_commit = before_commit
        self.envelope = Envelope(client_name, clock_ms, id_prefix=client_name)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Idempotent."""
        self.broker.create_topic(name, partitions)

    def producer(self, client_id: str, patience_seconds: float = 300.0) -> MemoryProducer:
        return MemoryProducer(self)

    def transactional_producer(self, transactional_id: str) -> MemoryTransactionalProducer:
        return MemoryTransactionalProducer(self, transactional_id)

    def reader(
        self,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str = "earliest",
        tail_only: bool = False,
        read_ahead: bool = True,
    ) -> MemoryReader:
        return MemoryReader(self, partitions, start)

    def group_consumer(
        self,
        group_id: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None = None,
        on_revoked: Callable[[list[TopicPartition]], None] | None = None,
        instance_id: str | None = None,
    ) -> MemoryGroupConsumer:
        return MemoryGroupConsumer(self, group_id, topics, on_assigned, on_revoked)

    def tune_group(self, group_id: str, session_ms: int, heartbeat_ms: int) -> None:
        """Members here are silent only when told to be."""

    def read_all(self, topic: str, partition: int, start: int = 0, uncommitted: bool = False) -> Iterator[Record]:
        end = self.broker.end(topic, partition, uncommitted)
        position = start
        while position < end:
            records, position = self.broker.read((topic, partition), position, 1000, uncommitted)
            for record in records:
                if record.offset >= end:
                    return
                yield record

    def read_compacted(self, topic: str, partition: int) -> dict[str, Record]:
        latest: dict[str, Record] = {}
        for record in self.read_all(topic, partition):
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record
        return latest

    def partition_count(self, topic: str) -> int:
        return self.broker.count(topic)

    def end_offset(self, topic: str, partition: int) -> int:
        return self.broker.end(topic, partition)

    def committed_offset(self, group_id: str, topic: str, partition: int) -> int | None:
        """A group's next offset; None when it has none."""
        return self.broker.group(group_id).offsets.get((topic, partition))

    def close(self) -> None:
        """Nothing to release; records stay readable, so that a test can look at them."""

    def prepared(self, outgoing: Outgoing) -> tuple[TopicPartition, Stored]:
        """Where a record goes, and as what; raises RecordTooLarge, Transient."""
        key, value, headers = self.envelope.wrap(outgoing, topics.max_message_bytes(outgoing.topic))
        count = self.broker.count(outgoing.topic)
        partition = partition_for(outgoing.key, count) if outgoing.partition is None else outgoing.partition
        if not 0 <= partition < count:
            raise Transient(f"topic {outgoing.topic} has {count} partitions, there is no {partition}")
        return (outgoing.topic, partition), Stored(self.broker.clock_ms(), key, value, headers)


class MemoryProducer:
    """Delivers at once, on the caller's thread. Thread-safe."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def send(self, outgoing: Outgoing, on_delivery: Callable[[Exception | None, int], None] | None = None) -> None:
        at, stored = self._log.prepared(outgoing)
        offset = self._log.broker.append(at, stored)
        if on_delivery is not None:
            on_delivery(None, offset)

    def send_together(self, records: Sequence[tuple[Outgoing, Delivered]]) -> None:
        for outgoing, told in records:
            try:
                self.send(outgoing, told)
            except RecordTooLarge as refused:
                told(refused, -1)

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing to release."""


class MemoryTransactionalProducer:
    def __init__(self, log: MemoryLog, transactional_id: str) -> None:
        self._log = log
        self._id = transactional_id
        broker = log.broker
        with broker.lock:
            self._epoch = broker.epochs[transactional_id] = broker.epochs.get(transactional_id, 0) + 1
            broker.end_transaction(transactional_id, commit=False)

    def commit(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[TopicPartition, int] | None = None,
        consumer: GroupConsumer | None = None,
    ) -> list[int]:
        broker = self._log.broker
        with self._aborting():
            prepared = [self._log.prepared(record) for record in records]
            if self._log.before_commit is not None:
                self._log.before_commit(self._id)
        with broker.lock:
            self._check_owner()
            if offsets:
                if not isinstance(consumer, MemoryGroupConsumer):
                    raise TypeError("offsets need the MemoryGroupConsumer that read the records")
                broker.group(consumer.group_id).offsets.update(offsets)
            written = [broker.append_open(self._id, at, stored) for at, stored in prepared]
            broker.end_transaction(self._id, commit=True)
            return written

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        broker = self._log.broker
        with self._aborting():
            prepared = [self._log.prepared(record) for record in records]
        with broker.lock:
            self._check_owner()
            return [broker.append_open(self._id, at, stored) for at, stored in prepared]

    def _check_owner(self) -> None:
        if self._log.broker.epochs[self._id] != self._epoch:
            raise Fenced(f"{self._id}: another owner took over")

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        """Aborts the open transaction when its next records can't be written."""
        try:
            yield
        except Transient:
            broker = self._log.broker
            with broker.lock:
                if broker.epochs[self._id] == self._epoch:
                    broker.end_transaction(self._id, commit=False)
            raise

    def close(self) -> None:
        """Nothing to release."""


class _Positions:
    """Reading partitions in turn, so that a busy one doesn't starve the others."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._next: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = itertools.count()

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        broker = self._log.broker
        deadline = time.monotonic() + timeout_seconds if self._log.wait else 0.0
        while True:
            self._before_reading()
            with broker.lock:
                records = self._ready(max_records)
                if records or not self._log.wait:
                    return records
                left = deadline - time.monotonic()
                if left <= 0:
                    return records
                broker.changed.wait(left)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self._next[topic, partition] = offset

    def _before_reading(self) -> None:
        """Group members learn here what they own."""

    def _ready(self, max_records: int) -> list[Record]:
        partitions = [at for at in self._next if at not in self._paused]
        if not partitions:
            return []
        if len(partitions) == 1:
            found, self._next[partitions[0]] = self._log.broker.read(
                partitions[0], self._next[partitions[0]], max_records
            )
            return found
        first = next(self._turn) % len(partitions)
        records: list[Record] = []
        for at in partitions[first:] + partitions[:first]:
            found, self._next[at] = self._log.broker.read(at, self._next[at], max_records - len(records))
            records += found
            if len(records) >= max_records:
                break
        return records


class MemoryReader(_Positions):
    def __init__(
        self, log: MemoryLog, partitions: Sequence[TopicPartition], start: Mapping[TopicPartition, int] | str
    ) -> None:
        super().__init__(log)
        if isinstance(start, str) and start not in ("earliest", "latest"):
            raise ValueError(f'start is "earliest", "latest" or offsets, not {start!r}')
        for at in partitions:
            end = log.end_offset(*at)
            if isinstance(start, str):
                self._next[at] = end if start == "latest" else 0
            else:
                self._next[at] = start.get(at, 0)

    def at_end(self) -> bool:
        return all(position >= self._log.end_offset(*at) for at, position in self._next.items())

    def position(self, topic: str, partition: int) -> int:
        """The next offset that will be read."""
        return self._next[topic, partition]

    def close(self) -> None:
        """Nothing to release."""


class MemoryGroupConsumer(_Positions):
    """A group member. `expire()` is what a broker does to a member whose session timed out."""

    def __init__(
        self,
        log: MemoryLog,
        group_id: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None,
        on_revoked: Callable[[list[TopicPartition]], None] | None,
    ) -> None:
        super().__init__(log)
        self.group_id = group_id
        self._topics = list(topics)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._member = log.broker.join(group_id, topics)
        self._closed = False
        # The broker's generation at which it had nothing more to learn.
        self._learnt = -1

    def expire(self) -> None:
        """The broker drops this member, which finds out at its next poll and joins again."""
        self._log.broker.leave(self.group_id, self._member)

    def committed(self, topic: str, partition: int) -> int | None:
        return self._log.committed_offset(self.group_id, topic, partition)

    def pause(self, topic: str, partition: int) -> None:
        self._paused.add((topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        self._paused.discard((topic, partition))

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Raises Transient when a partition is no longer this member's."""
        broker = self._log.broker
        with broker.lock:
            group = broker.group(self.group_id)
            for at in offsets:
                if group.owner.get(at) != self._member:
                    raise Transient(f"offset of {at[0]}[{at[1]}]: not owned by this member of {self.group_id}")
            group.offsets.update(offsets)

    def close(self) -> None:
        """Gives up its partitions and leaves the group. Idempotent."""
        if not self._closed:
            self._closed = True
            self._give_up(list(self._next))
            self._log.broker.leave(self.group_id, self._member)

    def _before_reading(self) -> None:
        broker = self._log.broker
        generation = broker.generation
        if generation == self._learnt:
            return
        with broker.lock:
            group = broker.group(self.group_id)
            expired = self._member not in group.members
            gone = [at for at in self._next if expired or group.target.get(at) != self._member]
        if gone:
            self._give_up(gone)
        with broker.lock:
            if expired:
                self._member = broker.join(self.group_id, self._topics)
            fresh = [
                at for at, member in group.target.items() if member == self._member and group.owner.get(at) is None
            ]
            for at in fresh:
                broker.generation += 1
                group.owner[at] = self._member
                self._next[at] = group.offsets.get(at, 0)
        if fresh and self._on_assigned is not None:
            self._on_assigned(fresh)
        self._learnt = generation

    def _give_up(self, partitions: list[TopicPartition]) -> None:
        if partitions and self._on_revoked is not None:
            self._on_revoked(partitions)
        broker = self._log.broker
        with broker.lock:
            group = broker.group(self.group_id)
            for at in partitions:
                self._next.pop(at, None)
                self._paused.discard(at)
                if group.owner.get(at) == self._member:
                    broker.generation += 1
                    del group.owner[at]
            broker.changed.notify_all()
