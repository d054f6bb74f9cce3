"""Consume → decide → produce and commit offsets in one transaction, for every partition that a group gives us.

- The group consumer only says what is owned; its partitions are paused. Each owned partition has a reader of its own
  (from the group's committed offset), a transactional producer of its own, and a thread of its own.
- A new owner's producer fences the old one before it reads anything, so at most one owner can commit, whatever is
  paused for how long.
- An aborted transaction, or a fence, makes the in-memory partition worthless: it is dropped, and made anew by the
  factory if the partition still belongs to this process.
- An exception of a state machine is a bug: `run` raises it, and the process should end (`servicekit.app` does that).

Why a thread a partition and not one for all: a commit waits 2–3 ms for the broker without holding the interpreter, so
partitions overlap their commits, and one partition's restore doesn't hold up the others. Measured on the 2-core machine
with a trivial machine, inbox record → output seen by a read_committed reader: see the README for the figures of both.
Why an own reader and not the group consumer's records: no hand-over between threads, no stale prefetched records after
a seek, and the position is looked up only after the fence.

`step()` drives everything on the caller's thread instead, for simulators over MemoryLog.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import Message

from spinner_eventlog import telemetry
from spinner_eventlog.interface import (
    EventLog,
    Fenced,
    GroupConsumer,
    Record,
    StateMachine,
    TopicPartition,
    Transient,
)
from spinner_eventlog.owned_partition import OwnedPartition, Recipe, State, commit_thread

logger = logging.getLogger("spinner_eventlog.loop")

_REVOKE_SECONDS = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """`state`: restoring, active, or waiting (to be tried again).

    `lag`: input records (and markers) not yet handled.
    """

    topic: str
    partition: int
    state: State
    position: int
    lag: int


class _Tenure:
    """A partition for as long as the group leaves it here; over several OwnedPartitions when it must be rebuilt."""

    def __init__(self, owned: OwnedPartition) -> None:
        self.owned = owned
        self.ending = threading.Event()
        self.thread: threading.Thread | None = None
        self.opened = False
        self.failures = 0
        self.retry_at = 0.0


class PartitionLoop:
    """Runs state machines, one per owned partition.

    `transactional_id_for(topic, partition)`: the name that fences. `machine_factory(topic, partition)`: a fresh machine
    for every ownership and rebuild. `decode`: the type of input records; those that aren't go to `dead_letters` in the
    batch's transaction, `on_poison(record, reason)` is told, and `handle` never sees them (its `record.decode(type)`
    costs nothing then). Machines that find poison by themselves add `dead_letter(record, reason)` to their outputs.
    Outputs take over the trace of their batch when all its records share one, else that of the records whose key is the
    output's key or its first part (before "/"). `clock` gives aware UTC times.
    `retry_seconds`: first pause before a rebuild; doubles up to 5 s.
    `patience`: how long a record may wait for others, to share their transaction, seconds; 0: not at all.
    `overlap`: decide during commits while there is a backlog (see owned_partition); for machines whose `handle` may be
    called before the `committed` of the one before. `commits`: what commits then, by name; simulators give their own.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        group_id: str,
        input_topics: Sequence[str],
        transactional_id_for: Callable[[str, int], str],
        machine_factory: Callable[[str, int], StateMachine],
        clock: Callable[[], datetime] = utc_now,
        decode: type[Message] | None = None,
        on_poison: Callable[[Record, str], None] | None = None,
        max_batch: int = 500,
        max_wait_seconds: float = 0.2,
        retry_seconds: float = 0.2,
        instance_id: str | None = None,
        patience: Callable[[Record], float] = lambda _record: 0.0,
        overlap: bool = False,
        commits: Callable[[str], Executor] = commit_thread,
    ) -> None:
        self._log = log
        self._group_id = group_id
        self._topics = list(input_topics)
        self._instance_id = instance_id
        self._recipe = Recipe(
            log, transactional_id_for, machine_factory, clock, decode, on_poison, max_batch, max_wait_seconds,
            patience, overlap, commits,
        )  # fmt: skip
        self._retry_seconds = retry_seconds
        self._tenures: dict[TopicPartition, _Tenure] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._group: GroupConsumer | None = None
        self._threaded = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Blocks until `stop`; raises what a state machine raised, after all partitions were dropped."""
        self._threaded = True
        try:
            self._join()
            while not self._stop.is_set():
                self._group_poll(0.1)
        finally:
            self._leave()
        if self._failure is not None:
            raise self._failure

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Runs in a thread of its own; `on_failure` is told (on that thread) when `run` raised. Stop with `close`."""

        def supervised() -> None:
            try:
                self.run()
            except BaseException as failure:  # noqa: BLE001 - handed on
                on_failure(failure)

        self._thread = threading.Thread(target=supervised, name=f"loop-{self._group_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks `run` to return; doesn't block. Safe in signal handlers and callbacks."""
        self._stop.set()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Stops and waits: started batches are committed, the group is left. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        elif not self._threaded:
            self._leave()

    def step(self) -> bool:
        """One turn of membership and of every owned partition on the caller's thread; True if something was done.

        Not together with `run` or `start`. Raises what a machine raises.
        """
        if self._group is None:
            self._join()
        self._group_poll(0.0)
        busy = False
        for tenure in self._all():
            busy = self._turn(tenure, 0.0) or busy
        return busy

    def partitions(self) -> set[TopicPartition]:
        """What the group gives this process now."""
        with self._lock:
            return set(self._tenures)

    def status(self) -> list[PartitionStatus]:
        """Every owned partition, in order. Asks the log for its ends; raises Transient."""
        found = []
        for tenure in self._all():
            owned = tenure.owned
            end = self._log.end_offset(owned.topic, owned.partition)
            lag = max(0, end - owned.position)
            found.append(PartitionStatus(owned.topic, owned.partition, owned.state, owned.position, lag))
        return sorted(found, key=lambda status: (status.topic, status.partition))

    def machines(self) -> list[StateMachine]:
        """The state machines of all partitions that are active here, which run on their own threads; doesn't block."""
        return [machine for tenure in self._all() if (machine := tenure.owned.machine) is not None]

    def _join(self) -> None:
        self._group = self._log.group_consumer(
            self._group_id, self._topics, self._assigned, self._revoked, self._instance_id
        )

    def _leave(self) -> None:
        if self._group is not None:
            self._group.close()  # its callback ends the partitions
            self._group = None
        self._revoked([(tenure.owned.topic, tenure.owned.partition) for tenure in self._all()])

    def _group_poll(self, timeout_seconds: float) -> None:
        group = self._group
        assert group is not None  # noqa: S101 - joined before
        try:
            for record in group.poll(1, timeout_seconds):  # slipped in between assignment and pause
                group.pause(record.topic, record.partition)
        except Transient as error:
            logger.warning("group %s: %s", self._group_id, error)
            self._stop.wait(self._retry_seconds if self._threaded else 0)

    def _assigned(self, partitions: list[TopicPartition]) -> None:
        group = self._group_now()
        for topic, partition in partitions:
            group.pause(topic, partition)
            tenure = _Tenure(OwnedPartition(self._recipe, group, topic, partition))
            with self._lock:
                self._tenures[topic, partition] = tenure
            if self._threaded:
                tenure.thread = threading.Thread(
                    target=self._live, args=(tenure,), name=f"{topic}[{partition}]", daemon=True
                )
                tenure.thread.start()

    def _revoked(self, partitions: list[TopicPartition]) -> None:
        """Ends partitions; a batch in work is committed if that takes only seconds (else it is fenced later)."""
        with self._lock:
            ended = [self._tenures.pop(at) for at in partitions if at in self._tenures]
        for tenure in ended:
            tenure.ending.set()
        deadline = time.monotonic() + _REVOKE_SECONDS
        for tenure in ended:
            if tenure.thread is None:
                tenure.owned.close()
            else:
                tenure.thread.join(max(0.0, deadline - time.monotonic()))

    def _live(self, tenure: _Tenure) -> None:
        try:
            while not tenure.ending.is_set() and not self._stop.is_set():
                if tenure.retry_at > time.monotonic():
                    tenure.ending.wait(tenure.retry_at - time.monotonic())
                else:
                    self._turn(tenure, None)
        except BaseException as failure:  # noqa: BLE001 - raised again by run()
            self._failure = self._failure or failure
            self._stop.set()
        finally:
            tenure.owned.close()

    def _turn(self, tenure: _Tenure, wait_seconds: float | None) -> bool:
        """Opens or steps; drops and schedules a rebuild when the partition's memory became worthless."""
        if tenure.retry_at > time.monotonic():
            return False
        owned = tenure.owned
        try:
            if not tenure.opened:
                owned.open()
                tenure.opened = True
                return True
            busy = owned.step(wait_seconds)
            tenure.failures = 0
            return busy
        except Fenced as fenced:
            self._rebuild(tenure, "fenced", fenced)
        except Transient as transient:
            self._rebuild(tenure, "aborted", transient)
        except Exception:
            logger.exception("bug in the state machine of %s[%d]", owned.topic, owned.partition)
            raise
        return True

    def _rebuild(self, tenure: _Tenure, why: str, error: Exception) -> None:
        owned = tenure.owned
        telemetry.REBUILDS.labels(owned.topic, str(owned.partition), why).inc()
        pause = min(5.0, self._retry_seconds * 2 ** min(tenure.failures, 10))
        if why == "fenced":
            # Whoever fenced us is probably the rightful owner: the group tells us within a heartbeat. Taking the
            # partition back at once would only fence it in turn.
            pause = max(pause, 5 * self._retry_seconds)
        logger.warning("dropped %s[%d] (%s): %s; again in %.1f s", owned.topic, owned.partition, why, error, pause)
        owned.close()
        tenure.failures += 1
        tenure.opened = False
        tenure.retry_at = time.monotonic() + pause if self._threaded else 0.0
        tenure.owned = OwnedPartition(self._recipe, self._group_now(), owned.topic, owned.partition)
        tenure.owned.state = "waiting"

    def _group_now(self) -> GroupConsumer:
        if self._group is None:
            raise Transient(f"group {self._group_id} was left")
        return self._group

    def _all(self) -> list[_Tenure]:
        with self._lock:
            return list(self._tenures.values())
