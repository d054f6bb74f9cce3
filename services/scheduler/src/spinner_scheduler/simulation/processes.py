"""Scheduler processes of the virtual world: the real partition loop and machine over a log that can fail.

A process has a clock that may be wrong, and a view of the log at which everything that can go wrong between a
scheduler and its broker is injected: see `scenario.FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from spinner_eventlog import topics
from spinner_eventlog.interface import GroupConsumer, Outgoing, Record, StateMachine, TopicPartition, Transient
from spinner_eventlog.loop import PartitionLoop
from spinner_eventlog.memory import MemoryGroupConsumer, MemoryLog, MemoryTransactionalProducer
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage

from spinner_scheduler.adapters.machine import SchedulerMachine
from spinner_scheduler.domain import times
from spinner_scheduler.simulation.violations import ViolatedError

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World

CLUSTER = "spinner"
TIERS = (1, 2)
PARTITIONS = 2


class Died(BaseException):
    """The process is killed here."""


class FaultyProducer(MemoryTransactionalProducer):
    """A transactional producer whose commits meet the faults that its process is in for."""

    def __init__(self, log: ProcessLog, transactional_id: str) -> None:
        super().__init__(log, transactional_id)
        self._process, self._name = log.process, transactional_id

    def commit(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[TopicPartition, int] | None = None,
        consumer: GroupConsumer | None = None,
    ) -> list[int]:
        process, world = self._process, self._process.world
        process.reach()
        fault = process.in_for.pop() if process.in_for else ""
        if fault == "die_before_commit":
            raise Died
        if fault == "abort":
            raise Transient("the transaction was aborted")
        lost = fault == "lose_ownership" and world.lose_ownership(process, self._name)
        written = super().commit(records, offsets, consumer)
        if lost:
            raise ViolatedError("one_writer", f"an owner of {self._name} committed after the next one took over")
        world.note(f"{process.name} commits {len(records)} records under {self._name}")
        world.observe()
        if fault == "die_after_commit":
            raise Died
        if fault == "lose_answer":
            raise Transient("the broker's answer to the commit was lost")
        return written


class FaultyGroupConsumer(MemoryGroupConsumer):
    """A group member that finds no broker while there is none."""

    process: Process

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        self.process.reach()
        return super().poll(max_records, timeout_seconds)


class ProcessLog(MemoryLog):
    """The world's log as one process sees it."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.name, process.world.clock, wait=False)
        self.broker = process.world.log.broker
        self.process = process
        self.members: list[FaultyGroupConsumer] = []

    def transactional_producer(self, transactional_id: str) -> MemoryTransactionalProducer:
        self.process.reach()
        return FaultyProducer(self, transactional_id)

    def group_consumer(
        self,
        group_id: str,
        topics: Sequence[str],
        on_assigned: Callable[[list[TopicPartition]], None] | None = None,
        on_revoked: Callable[[list[TopicPartition]], None] | None = None,
        instance_id: str | None = None,
    ) -> MemoryGroupConsumer:
        member = FaultyGroupConsumer(self, group_id, topics, on_assigned, on_revoked)
        member.process = self.process
        self.members.append(member)
        return member

    def read_all(self, topic: str, partition: int, start: int = 0, uncommitted: bool = False) -> Iterator[Record]:
        self.process.reach()
        for number, record in enumerate(super().read_all(topic, partition, start, uncommitted)):
            if number == 3 and self.process.dies_in_recovery:
                self.process.dies_in_recovery = False
                raise Died
            yield record


class Process:
    """A scheduler process: a loop for each tier. `step` raises ViolatedError and what is a bug."""

    def __init__(self, world: World, number: int, life: int) -> None:
        self.world = world
        self.number = number
        self.name = f"process {number}.{life}"
        self.skew = 0
        self.asleep_until = 0
        self.alive = True
        # Faults that the next commits meet, last first.
        self.in_for: list[str] = []
        self.dies_in_recovery = False
        self.machines: dict[tuple[int, int], SchedulerMachine] = {}
        self.log = ProcessLog(self)
        rng = world.scenario.rng(self.name)
        most = rng.choice([1, 3, 50, 500])
        self.loops = [self._loop(tier, most) for tier in TIERS]

    def _loop(self, tier: int, most: int) -> PartitionLoop:
        def machine(topic: str, partition: int) -> StateMachine:
            made = SchedulerMachine(self.log, self.world.store, self.world.policy, tier, partition)  # type: ignore[arg-type]
            self.machines[(tier, partition)] = made
            return made

        return PartitionLoop(
            self.log,
            group_id=f"scheduler-{topics.cell(CLUSTER, tier)}",
            input_topics=[topics.inbox_topic(CLUSTER, tier)],
            transactional_id_for=lambda topic, partition: f"scheduler-{topics.cell(CLUSTER, tier)}_{partition}",
            machine_factory=machine,
            clock=self.clock,
            decode=InboxMessage,
            max_batch=most,
            max_wait_seconds=0.0,
        )

    def clock(self) -> datetime:
        return times.to_datetime(self.world.now + self.skew)

    def reach(self) -> None:
        """Raises Transient while the broker is away."""
        if not self.world.broker_up:
            raise Transient("the broker is away")

    def awake(self) -> bool:
        return self.alive and self.asleep_until <= self.world.now

    def step(self) -> bool:
        """One turn of all partitions; False when there was nothing to do. The process may die in it."""
        busy = False
        try:
            for loop in self.loops:
                busy = loop.step() or busy
        except Died:
            self.world.died(self)
            return True
        return busy

    def active(self) -> dict[tuple[int, int], SchedulerMachine]:
        """The partitions that it owns, as far as it knows, with their states."""
        found = {}
        for tier, loop in zip(TIERS, self.loops, strict=True):
            for tenure in loop._all():
                owned = tenure.owned
                if owned.state == "active":
                    found[(tier, owned.partition)] = self.machines[(tier, owned.partition)]
        return found

    def next_due(self) -> int | None:
        """When a timer of its partitions is due, in the world's time (µs)."""
        dues = [due for machine in self.active().values() if (due := machine.next_due()) is not None]
        return times.from_datetime(min(dues)) - self.skew if dues else None

    def expire(self) -> None:
        """The broker gives up waiting for its heartbeats."""
        for member in self.log.members:
            member.expire()

    def leave(self) -> None:
        """Stops as a process does that is asked to."""
        self.alive = False
        for loop in self.loops:
            loop.close()
