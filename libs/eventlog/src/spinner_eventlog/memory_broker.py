"""The state behind MemoryLog: partitions, transactional ids, groups. One lock; deterministic given the order of calls.

It behaves like the broker where users could notice: offsets have holes (a transaction leaves its marker at the end of
each partition that it wrote), a new producer of a transactional id fences the old ones, and a partition moves between
members of a group only after its old owner gave it up or was expired.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from spinner_eventlog.envelope import Headers, unwrap
from spinner_eventlog.interface import Record, TopicPartition, Transient, UnknownTopic


@dataclass(slots=True)
class Stored:
    """A record as written; a whole entry of None in the partition is a transaction marker."""

    time_ms: int
    key: bytes
    value: bytes | None
    headers: Headers
    # Value and headers as readers see them, once there was one.
    read: tuple[bytes | None, Mapping[str, str]] | None = None

    def record(self, at: TopicPartition, offset: int) -> Record:
        if self.read is None:
            record = unwrap(*at, offset, self.time_ms, self.key, self.value, self.headers)
            self.read = (record.value, record.headers)
            return record
        value, headers = self.read
        return Record(*at, offset, self.time_ms, self.key.decode("utf-8", "backslashreplace"), value, headers)


@dataclass(slots=True)
class Group:
    """A consumer group. `target` is who should own what, `owner` who does; members in the order of joining."""

    members: dict[int, tuple[str, ...]] = field(default_factory=dict)
    target: dict[TopicPartition, int] = field(default_factory=dict)
    owner: dict[TopicPartition, int] = field(default_factory=dict)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)


class MemoryBroker:
    """Thread-safe. `clock_ms` stamps records."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.clock_ms = clock_ms
        self.epochs: dict[str, int] = {}
        # What each transactional id has appended and not yet committed, and what was aborted.
        self._open: dict[str, list[tuple[TopicPartition, int]]] = {}
        self._aborted: set[tuple[TopicPartition, int]] = set()
        # Grows with each change of who is or should be a partition's owner.
        self.generation = 0
        self._topics: dict[str, list[list[Stored | None]]] = {}
        self._groups: dict[str, Group] = {}
        self._next_member = 0

    def create_topic(self, name: str, partitions: int) -> None:
        """Idempotent; an existing topic keeps its partitions."""
        with self.lock:
            self._topics.setdefault(name, [[] for _ in range(partitions)])
            for group in self._groups.values():
                self._assign(group)

    def count(self, topic: str) -> int:
        with self.lock:
            return len(self._partitions(topic))

    def end(self, topic: str, partition: int, uncommitted: bool = False) -> int:
        """The offset after the last record that a reader of committed records, or of all, may see."""
        with self.lock:
            size = len(self._partition(topic, partition))
            if uncommitted or not self._open:
                return size
            at = (topic, partition)
            return min(
                [offset for opened in self._open.values() for where, offset in opened if where == at], default=size
            )

    def entries(self, topic: str, partition: int) -> Sequence[object]:
        """A partition itself, for those who often look whether it has grown. Its length is its end."""
        with self.lock:
            return self._partition(topic, partition)

    def append(self, at: TopicPartition, stored: Stored | None) -> int:
        with self.lock:
            log = self._partition(*at)
            log.append(stored)
            self.changed.notify_all()
            return len(log) - 1

    def append_open(self, transactional_id: str, at: TopicPartition, stored: Stored) -> int:
        """Appends to the open transaction of an id."""
        with self.lock:
            offset = self.append(at, stored)
            self._open.setdefault(transactional_id, []).append((at, offset))
            return offset

    def end_transaction(self, transactional_id: str, commit: bool) -> None:
        """Ends the open transaction of an id, if there is one, with a marker in each partition."""
        with self.lock:
            opened = self._open.pop(transactional_id, [])
            if not commit:
                self._aborted.update(opened)
            for at in dict.fromkeys(at for at, _ in opened):
                self.append(at, None)

    def read(self, at: TopicPartition, start: int, limit: int, uncommitted: bool = False) -> tuple[list[Record], int]:
        """Up to `limit` records from `start`, and the next offset to read."""
        with self.lock:
            log = self._partition(*at)
            found: list[Record] = []
            if start >= len(log):
                return found, start
            end = self.end(*at, uncommitted)
            position = start
            while position < end and len(found) < limit:
                stored = log[position]
                if stored is not None and (uncommitted or (at, position) not in self._aborted):
                    found.append(stored.record(at, position))
                position += 1
            while position < end and log[position] is None:
                position += 1
            return found, position

    def group(self, name: str) -> Group:
        with self.lock:
            return self._groups.setdefault(name, Group())

    def join(self, name: str, topics: Sequence[str]) -> int:
        with self.lock:
            for topic in topics:
                self._partitions(topic)
            self._next_member += 1
            group = self.group(name)
            group.members[self._next_member] = tuple(topics)
            self._assign(group)
            return self._next_member

    def leave(self, name: str, member: int) -> None:
        """Also what a session time-out does: the member's partitions are free at once."""
        with self.lock:
            group = self.group(name)
            if group.members.pop(member, None) is not None:
                self.generation += 1
                group.owner = {at: owner for at, owner in group.owner.items() if owner != member}
                self._assign(group)
                self.changed.notify_all()

    def _partitions(self, topic: str) -> list[list[Stored | None]]:
        found = self._topics.get(topic)
        if found is None:
            raise UnknownTopic(f"topic {topic} doesn't exist in this MemoryLog: create it (topics.create_topics)")
        return found

    def _partition(self, topic: str, partition: int) -> list[Stored | None]:
        partitions = self._partitions(topic)
        if not 0 <= partition < len(partitions):
            raise Transient(f"topic {topic} has {len(partitions)} partitions, there is no {partition}")
        return partitions[partition]

    def _assign(self, group: Group) -> None:
        """Evenly, moving little: members keep what they have up to their share, the rest is dealt out."""
        self.generation += 1
        topics = sorted({topic for subscribed in group.members.values() for topic in subscribed})
        before, group.target = group.target, {}
        for topic in topics:
            members = [member for member, subscribed in group.members.items() if topic in subscribed]
            partitions = [(topic, number) for number in range(len(self._topics[topic]))]
            share, extra = divmod(len(partitions), len(members))
            room = {member: share + (1 if place < extra else 0) for place, member in enumerate(members)}
            homeless = []
            for at in partitions:
                member = before.get(at, -1)
                if room.get(member, 0) > 0:
                    room[member] -= 1
                    group.target[at] = member
                else:
                    homeless.append(at)
            for at in homeless:
                member = next(member for member in members if room[member] > 0)
                room[member] -= 1
                group.target[at] = member
