"""Readers: of given partitions, and of what a consumer group assigns (KIP-848 protocol). Committed records only.

`poll` waits for the first record only and then takes what has already been fetched: `consume(n, timeout)` alone would
wait the whole time-out at the tail of a topic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as KafkaPartition

from spinner_eventlog.envelope import unwrap
from spinner_eventlog.interface import Record, TopicPartition
from spinner_eventlog.kafka_client import Config, error_of, translated

logger = logging.getLogger("spinner_eventlog.kafka")

# Not OFFSET_BEGINNING, which costs a new client a wait of 500 ms before it looks the offset up; when 0 is gone
# already, auto.offset.reset leads to the earliest record too.
_EARLIEST = 0


class _Polls:
    """Polling that both consumers share; `_ended` is called for the end of a partition."""

    def __init__(self, config: Config, prefix: str) -> None:
        self._client = Consumer(config)
        self._prefix = prefix
        self._strip = len(prefix)
        self._closed = False

    def _ended(self, partition: TopicPartition, offset: int) -> None:
        """The partition has been read to its end, which is at `offset`, markers of transactions included."""

    def _moved(self, record: Record) -> None:
        """A record of a partition was read."""

    def _complete(self) -> bool:
        """Whether waiting for more is pointless now."""
        return False

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        records: list[Record] = []
        try:
            first = self._client.poll(timeout_seconds)
            if first is not None:
                self._take(first, records)
                while not records and not self._complete():
                    # An end-of-partition event came first; there may be records of others behind it.
                    following = self._client.poll(0)
                    if following is None:
                        break
                    self._take(following, records)
                if records and max_records > 1:
                    for message in self._client.consume(max_records - 1, 0):
                        self._take(message, records)
        except KafkaException as exception:
            raise translated(error_of(exception), "reading") from exception
        return records

    def seek(self, topic: str, partition: int, offset: int) -> None:
        try:
            self._client.seek(KafkaPartition(self._prefix + topic, partition, offset))
        except KafkaException as exception:
            raise translated(error_of(exception), f"seeking {topic}[{partition}] to {offset}") from exception

    def close(self) -> None:
        """Idempotent. A group member leaves its group."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _take(self, message: Message, records: list[Record]) -> None:
        error = message.error()
        if error is None:
            record = unwrap(
                (message.topic() or "")[self._strip :],
                message.partition() or 0,
                message.offset() or 0,
                message.timestamp()[1],
                message.key(),
                message.value(),
                message.headers(),  # type: ignore[arg-type]
            )
            self._moved(record)
            records.append(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._ended(((message.topic() or "")[self._strip :], message.partition() or 0), message.offset() or 0)
        elif error.fatal():
            raise KafkaException(error)
        else:
            logger.warning("reading: %s: %s", error.name(), error.str())


class KafkaReader(_Polls):
    """Reads given partitions from given positions. Used by one thread."""

    def __init__(
        self,
        config: Config,
        prefix: str,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str,
    ) -> None:
        super().__init__(config | {"enable.partition.eof": True}, prefix)
        self._partitions = tuple(partitions)
        self._at_end: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        if isinstance(start, str) and start not in ("earliest", "latest"):
            raise ValueError(f'start is "earliest", "latest" or offsets, not {start!r}')
        assigned = []
        for topic, partition in self._partitions:
            if isinstance(start, str):
                offset = OFFSET_END if start == "latest" else _EARLIEST
            else:
                offset = start.get((topic, partition), _EARLIEST)
            if offset >= 0:
                self._positions[topic, partition] = offset
            assigned.append(KafkaPartition(prefix + topic, partition, offset))
        try:
            if start == "latest":
                # The end at the time of this call, not of the first fetch: what is written right after is read.
                for at in assigned:
                    _, at.offset = self._client.get_watermark_offsets(at, timeout=30.0, cached=False)
                    self._positions[at.topic[self._strip :], at.partition] = at.offset
            self._client.assign(assigned)
        except KafkaException as exception:
            self._client.close()
            raise translated(error_of(exception), "assigning partitions") from exception

    def at_end(self) -> bool:
        return len(self._at_end) == len(self._partitions)

    def seek(self, topic: str, partition: int, offset: int) -> None:
        self._at_end.discard((topic, partition))
        self._positions[topic, partition] = offset
        # Assigning again instead of a seek: a seek fails before the partition's first fetch.
        self._client.incremental_unassign([KafkaPartition(self._prefix + topic, partition)])
        self._client.incremental_assign([KafkaPartition(self._prefix + topic, partition, offset)])

    def position(self, topic: str, partition: int) -> int:
        """The next offset that will be read; 0 when nothing was read and no start was given."""
        return self._positions.get((topic, partition), 0)

    def _moved(self, record: Record) -> None:
        at = (record.topic, record.partition)
        self._positions[at] = record.offset + 1
        self._at_end.discard(at)

    def _ended(self, partition: TopicPartition, offset: int) -> None:
        self._at_end.add(partition)
        self._positions[partition] = max(offset, self._positions.get(partition, 0))

    def _complete(self) -> bool:
        return self.at_end()


class KafkaGroupConsumer(_Polls):
    """A member of a consumer group. Used by one thread, except `committed`."""

    def __init__(
        self,
        config: Config,
        prefix: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None,
        on_revoked: Callable[[list[TopicPartition]], None] | None,
        committed: Callable[[str, int], int | None],
    ) -> None:
        classic = Consumer({name: value for name, value in config.items() if not name.startswith("group.instance")})
        try:
            # Metadata of a consumer that never joined: group id only (see KafkaTransactionalProducer.commit).
            self.group_metadata = classic.consumer_group_metadata()
        finally:
            classic.close()
        super().__init__(config | {"group.protocol": "consumer"}, prefix)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._committed = committed
        self._client.subscribe(
            [prefix + topic for topic in topics], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose
        )

    def committed(self, topic: str, partition: int) -> int | None:
        """The group's next offset, once every transaction that may change it has ended. Thread-safe."""
        return self._committed(topic, partition)

    def pause(self, topic: str, partition: int) -> None:
        self._client.pause([KafkaPartition(self._prefix + topic, partition)])

    def resume(self, topic: str, partition: int) -> None:
        self._client.resume([KafkaPartition(self._prefix + topic, partition)])

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Blocks until the broker has the offsets; raises Transient, also when a partition is no longer owned."""
        positions = [KafkaPartition(self._prefix + topic, part, offset) for (topic, part), offset in offsets.items()]
        if not positions:
            return
        try:
            results = self._client.commit(offsets=positions, asynchronous=False) or []
        except KafkaException as exception:
            raise translated(error_of(exception), "committing offsets") from exception
        for result in results:
            if result.error is not None:
                raise translated(result.error, f"committing offset of {result.topic}[{result.partition}]")

    def _assign(self, client: Consumer, partitions: list[KafkaPartition]) -> None:
        client.incremental_assign(partitions)
        if self._on_assigned is not None:
            self._on_assigned(self._named(partitions))

    def _revoke(self, client: Consumer, partitions: list[KafkaPartition]) -> None:
        if self._on_revoked is not None:
            self._on_revoked(self._named(partitions))
        client.incremental_unassign(partitions)

    def _lose(self, client: Consumer, partitions: list[KafkaPartition]) -> None:
        logger.warning("group membership lost with %d partitions", len(partitions))
        self._revoke(client, partitions)

    def _named(self, partitions: list[KafkaPartition]) -> list[TopicPartition]:
        return [(at.topic[self._strip :], at.partition) for at in partitions]
