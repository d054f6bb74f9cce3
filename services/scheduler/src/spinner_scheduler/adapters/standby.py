"""Warm standby: this process follows the partitions that it does not own, so that taking one over needs no replay.

A follower is restored like an owner and then applies the same events by the same `evolve`. It also reads the owner's
snapshots, only to know what a next owner would still have to write. Following costs the memory of the followed state
and a part of the owner's CPU (evolving, not deciding), so it is bounded by the number of live task instances; what is
beyond is restored from snapshots when it is taken over, as without a standby. A follower that fails is dropped:
nothing depends on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spinner_eventlog import topics
from spinner_eventlog.interface import EventLog, Reader, Record, TopicPartition, Transient
from spinner_proto.snapshots.v1.snapshots_pb2 import Snapshot

from spinner_scheduler.adapters import recovery
from spinner_scheduler.domain.state import PartitionState

logger = logging.getLogger("spinner_scheduler.standby")

# A partition that changes hands is nobody's for a moment: it is followed when it stays with another process.
_SETTLED_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_RETRY_SECONDS = 60.0

# (tier, partition)
Place = tuple[int, int]


@dataclass(slots=True)
class Follower:
    """A followed partition. `restored` says what its next owner has to know besides the state."""

    state: PartitionState
    restored: recovery.Restored

    def event(self, record: Record) -> None:
        """Applies a record of events."""
        recovery.replay(self.state, record, self.restored)

    def snapshot(self, record: Record) -> None:
        """Takes note of what the owner saved."""
        key = record.key
        if record.value is None:
            kind, _, name = key.partition(":")
            self._forget(key)
            if kind == "run":
                dag_id, _, run_id = name.partition("/")
                self.state.dropped = [entry for entry in self.state.dropped if entry != (dag_id, run_id)]
            return
        unsaved = self.restored.unsaved
        if key not in unsaved:
            return
        offset = record.decode(Snapshot).events_offset
        if self.restored.latest.get(key, -1) < offset:
            self._forget(key)
        else:
            unsaved[key] = max(unsaved[key], offset)

    def tidy(self) -> None:
        """Drops what only a decision would: without one, queues and timers grow for ever."""
        self.state.settled()
        self.state.timers.compact(self.state.applies)
        self.state.prune_queues()

    def _forget(self, entity: str) -> None:
        self.restored.unsaved.pop(entity, None)
        self.restored.latest.pop(entity, None)


class Standby:
    """Follows with one thread. `owned` says what this process owns now; `make` makes the empty state of a place.

    `most_tasks`: live task instances of all followed partitions together. `clock`: seconds that never go back.
    Simulators call `step` instead of `start`.
    """

    def __init__(
        self,
        log: EventLog,
        cluster: str,
        tiers: Iterable[int],
        owned: Callable[[], set[TopicPartition]],
        make: Callable[[int, int], PartitionState],
        most_tasks: int,
        await_definition: Callable[[str, str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._owned = owned
        self._make = make
        self._most_tasks = most_tasks
        self._await_definition = await_definition
        self._clock = clock
        self._reader: Reader | None = None
        self._looked = float("-inf")
        self._topics = {
            tier: (
                topics.inbox_topic(cluster, tier),
                topics.events_topic(cluster, tier),
                topics.snapshots_topic(cluster, tier),
            )
            for tier in tiers
        }
        self._place = {
            topic: (tier, index) for tier, names in self._topics.items() for index, topic in enumerate(names)
        }
        self._followers: dict[Place, Follower] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._taken: set[Place] = set()
        self._not_before: dict[Place, float] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def take(self, tier: int, partition: int) -> Follower | None:
        """Ends following a partition and returns what is known of it, None when it was not followed. Thread-safe."""
        with self._lock:
            self._taken.add((tier, partition))
            return self._drop((tier, partition))

    def following(self) -> dict[Place, PartitionState]:
        """The partitions that can be taken over without replay; read the states for figures only."""
        with self._lock:
            return {place: follower.state for place, follower in self._followers.items()}

    def step(self) -> bool:
        """One turn on the caller's thread; True when something was read. Raises Transient, and can go on after it."""
        return self._turn(0.0)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    if not self._turn(0.2) and self._reader is None:
                        self._stopping.wait(_LOOK_SECONDS)
                except Transient as transient:
                    logger.warning("following: %s; again in 1 s", transient)
                    self._stopping.wait(1)
        finally:
            self._close_reader()

    def _turn(self, wait_seconds: float) -> bool:
        try:
            now = self._clock()
            if now - self._looked >= _LOOK_SECONDS:
                self._looked = now
                if self._look() or self._reader is None:
                    self._close_reader()
                    with self._lock:
                        positions = dict(self._positions)
                    if positions:
                        self._reader = self._log.reader(list(positions), positions, tail_only=True)
            if self._reader is None:
                return False
            records = self._reader.poll(1_000, wait_seconds)
            self._apply(records)
            return bool(records)
        except Transient:
            self._close_reader()
            self._looked = float("-inf")
            raise

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _look(self) -> bool:
        """Starts and ends following; True when something changed."""
        now = self._clock()
        owned = self._owned()
        changed = False
        for tier, (inbox, _, _) in self._topics.items():
            for partition in range(self._log.partition_count(inbox)):
                place = (tier, partition)
                if (inbox, partition) in owned:
                    # It is given up by `take` alone: its new owner fences the last one first, and that takes a while.
                    self._not_before[place] = now + _SETTLED_SECONDS
                    with self._lock:
                        changed = place in self._taken or changed
                        self._taken.discard(place)
                elif place not in self._followers and now >= self._not_before.setdefault(place, now + _SETTLED_SECONDS):
                    changed = self._open(place) or changed
        return self._bound() or changed

    def _open(self, place: Place) -> bool:
        tier, partition = place
        _, events, snapshots = self._topics[tier]
        state = self._make(tier, partition)
        saved = self._log.end_offset(snapshots, partition)
        with self._lock:
            self._taken.discard(place)
        try:
            restored = recovery.restore(state, self._log, snapshots, events, partition, self._await_definition)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - nothing depends on a follower
            self._failed(place, f"{events}[{partition}]", error)
            return False
        follower = Follower(state, restored)
        with self._lock:
            if place in self._taken:
                return False
            self._followers[place] = follower
            self._positions[events, partition] = restored.next_offset
            self._positions[snapshots, partition] = saved
        logger.info("following %s[%d]: %d live runs", events, partition, state.live_runs)
        return True

    def _apply(self, records: list[Record]) -> None:
        with self._lock:
            touched: dict[Place, Follower] = {}
            for record in records:
                tier, index = self._place[record.topic]
                place = (tier, record.partition)
                follower = self._followers.get(place)
                if follower is None:
                    continue
                touched[place] = follower
                try:
                    if index == 1:
                        follower.event(record)
                    else:
                        follower.snapshot(record)
                except Exception as error:  # noqa: BLE001 - nothing depends on a follower
                    self._drop(place)
                    self._failed(place, f"{record.topic}[{record.partition}] at {record.offset}", error)
                else:
                    self._positions[record.topic, record.partition] = record.offset + 1
            for follower in touched.values():
                follower.tidy()

    def _bound(self) -> bool:
        """Stops following the largest partition when all together are too large."""
        with self._lock:
            sizes = {place: follower.state.live_task_instances() for place, follower in self._followers.items()}
            if sum(sizes.values()) <= self._most_tasks:
                return False
            place = max(sizes, key=lambda at: sizes[at])
            logger.warning(
                "stopped following partition %d of tier %d: %d live task instances are followed, standby_tasks is %d",
                place[1],
                place[0],
                sum(sizes.values()),
                self._most_tasks,
            )
            self._drop(place)
            self._not_before[place] = self._clock() + _RETRY_SECONDS
            return True

    def _failed(self, place: Place, where: str, error: Exception) -> None:
        logger.error("can't follow %s: tried again in %.0f s", where, _RETRY_SECONDS, exc_info=error)
        self._not_before[place] = self._clock() + _RETRY_SECONDS

    def _drop(self, place: Place) -> Follower | None:
        follower = self._followers.pop(place, None)
        tier, partition = place
        _, events, snapshots = self._topics[tier]
        self._positions.pop((events, partition), None)
        self._positions.pop((snapshots, partition), None)
        return follower
