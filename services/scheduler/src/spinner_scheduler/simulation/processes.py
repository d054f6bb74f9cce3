"""Scheduler processes of the virtual world: the real partition loop and machine over a log that can fail.

A process has a clock that may be wrong, and a view of the log at which everything that can go wrong between a
scheduler and its broker is injected: see `scenario.FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from spinner_eventlog import topics
from spinner_eventlog.interface import Fenced, GroupConsumer, Outgoing, Record, StateMachine, TopicPartition, Transient
from spinner_eventlog.loop import PartitionLoop
from spinner_eventlog.memory import MemoryGroupConsumer, MemoryLog, MemoryReader, MemoryTransactionalProducer
from spinner_eventlog.owned_partition import OwnedPartition
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage

from spinner_scheduler.adapters.machine import SchedulerMachine, new_state
from spinner_scheduler.adapters.standby import Place, Standby
from spinner_scheduler.domain import times
from spinner_scheduler.simulation.commits import Commits, Died, Flight
from spinner_scheduler.simulation.violations import ViolatedError

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World

CLUSTER = "spinner"
TIERS = (1, 2)
PARTITIONS = 2
_ELSE_CHANCE = 0.03
_SLUGGISH_SECONDS = 3


class FaultyProducer(MemoryTransactionalProducer):
    """A transactional producer whose commits meet the faults that its process is in for."""

    def __init__(self, log: ProcessLog, transactional_id: str) -> None:
        super().__init__(log, transactional_id)
        self._process, self._name = log.process, transactional_id
        self._reign = self._epoch

    def commit(
        self,
        records: Sequence[Outgoing],
        offsets: Mapping[TopicPartition, int] | None = None,
        consumer: GroupConsumer | None = None,
    ) -> list[int]:
        process, world = self._process, self._process.world
        process.reach()
        # Mostly they wait for a commit during which something else was decided.
        met = process.in_for and (process.ahead or not process.overlap or process.dice.random() < _ELSE_CHANCE)
        fault = process.in_for.pop() if met else ""
        if fault == "die_before_commit":
            raise Died
        if fault == "abort":
            raise Transient("the transaction was aborted")
        if fault == "lose_ownership":
            world.lose_ownership(process, self._name)
        try:
            written = super().commit(records, offsets, consumer)
        except Fenced:
            # Whoever fenced it is told of by the group within a heartbeat.
            process.deaf_until = 0
            raise
        if not self.rules():
            raise ViolatedError("one_writer", f"an owner of {self._name} committed after the next one took over")
        world.note(f"{process.name} commits {len(records)} records under {self._name}")
        world.observe()
        if fault == "die_after_commit":
            raise Died
        if fault == "lose_answer":
            raise Transient("the broker's answer to the commit was lost")
        process.reach()
        return written

    def rules(self) -> bool:
        """Whether nobody has fenced it."""
        return self._process.log.broker.epochs[self._name] == self._reign


class FaultyGroupConsumer(MemoryGroupConsumer):
    """A group member that finds no broker while there is none, and hears nothing from its group while it is deaf."""

    process: Process

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        if self.process.deaf():
            return []
        self.process.reach()
        return super().poll(max_records, timeout_seconds)

    def committed(self, topic: str, partition: int) -> int | None:
        self.process.reach()
        return super().committed(topic, partition)


class FaultyReader(MemoryReader):
    """The reader of an inbox."""

    process: Process

    def poll(self, max_records: int = 1000, timeout_seconds: float = 0.1) -> list[Record]:
        found = super().poll(max_records, timeout_seconds)
        if found:
            self.process.reach()
        return found


class ProcessLog(MemoryLog):
    """The world's log as one process sees it."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.name, wait=False, clock_ms=process.world.clock_ms)
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

    def reader(
        self,
        partitions: Sequence[TopicPartition],
        start: Mapping[TopicPartition, int] | str = "earliest",
        tail_only: bool = False,
        read_ahead: bool = True,
    ) -> MemoryReader:
        reader = FaultyReader(self, partitions, start)
        reader.process = self.process
        return reader

    def read_all(self, topic: str, partition: int, start: int = 0, uncommitted: bool = False) -> Iterator[Record]:
        self.process.reach()
        for number, record in enumerate(super().read_all(topic, partition, start, uncommitted)):
            self.process.reach()
            if number == 3 and self.process.dies_in_recovery:
                self.process.dies_in_recovery = False
                raise Died
            yield record


class WarmStandby(Standby):
    """A standby whose failures are findings."""

    def _failed(self, place: Place, where: str, error: Exception) -> None:
        raise ViolatedError("standby_equals_live_state", f"can't follow {where}: {error!r}") from error


class Machine(SchedulerMachine):
    """A machine that looks at what it takes over from a standby."""

    def restore(self) -> None:
        super().restore()
        if self.warm:
            process = self._log.process  # type: ignore[attr-defined]
            process.world.memories.took_over(process, self._place, self.state)


class Process:
    """A scheduler process: a loop for each tier. `step` raises ViolatedError and what is a bug."""

    def __init__(self, world: World, number: int, life: int) -> None:
        self.world = world
        self.number = number
        self.name = f"process {number}.{life}"
        self.skew = 0
        self._time = (0, times.to_datetime(0))
        self.asleep_until = 0
        # It works, but its group does not reach it.
        self.deaf_until = 0
        # It has the processor only every few seconds.
        self.sluggish_until = 0
        self.alive = True
        # Faults that the next commits meet, last first.
        self.in_for: list[str] = []
        # It dies when it reaches for the broker so many times more; 0: it does not.
        self.reaches_left = 0
        self.dies_in_recovery = False
        self.machines: dict[tuple[int, int], SchedulerMachine] = {}
        self.log = ProcessLog(self)
        self.flights: list[Flight] = []
        # Whether the commit in work has something decided after it.
        self.ahead = False
        self.dice = world.scenario.rng(self.name)
        most = self.dice.choice([1, 1, 3, 50])
        self.overlap = self.dice.random() < 0.8
        self.standby = self._follower()
        # How much of what was written it takes note of at once, when it follows.
        self.attention = self.dice.choice([0.05, 0.5, 1])
        self._followed = -1
        self.loops = [self._loop(tier, most) for tier in TIERS]
        # By loop: what it saw when it last found nothing to do, and when its next timer rings.
        self._seen: list[tuple[object, ...] | None] = [None] * len(TIERS)
        self._dues: list[int | None] = [None] * len(TIERS)
        self._due: int | None = None

    def _loop(self, tier: int, most: int) -> PartitionLoop:
        def machine(topic: str, partition: int) -> StateMachine:
            made = Machine(
                self.log,
                self.world.store,  # type: ignore[arg-type]
                self.world.policy,
                tier,
                partition,
                standby=self.standby,
            )
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
            overlap=self.overlap,
            commits=lambda name: Commits(self),
        )

    def clock(self) -> datetime:
        now = self.world.now + self.skew
        if now != self._time[0]:
            self._time = (now, times.to_datetime(now))
        return self._time[1]

    def reach(self) -> None:
        """Reaches for the broker. Raises Transient while that is away; the process may die of it."""
        if self.reaches_left:
            self.reaches_left -= 1
            if not self.reaches_left:
                raise Died
        if not self.world.broker_up:
            raise Transient("the broker is away")

    def awake(self) -> bool:
        return self.alive and self.asleep_until <= self.world.now

    def deaf(self) -> bool:
        return self.deaf_until > self.world.now

    def step(self) -> bool:
        """One turn of the partitions that may have something to do; False when none had. The process may die in it."""
        world = self.world
        busy = looked = False
        try:
            for place, loop in enumerate(self.loops):
                seen, due = self._sight(place), self._dues[place]
                if seen == self._seen[place] and (due is None or due > world.now):
                    continue
                looked = True
                worked = loop.step()
                self._dues[place] = self._next_due(place)
                self._seen[place] = None if worked else seen
                busy = worked or busy
            self._follow()
        except Died:
            world.died(self)
            return True
        if looked:
            self._due = min((due for due in self._dues if due is not None), default=None)
            if not busy and self.sluggish_until > world.now:
                world.pause(self, _SLUGGISH_SECONDS)
        return busy

    def _follower(self) -> Standby | None:
        """Half of all processes follow, a few of them only what is small."""
        if self.dice.random() < 0.5:
            return None
        world = self.world
        return WarmStandby(
            self.log,
            CLUSTER,
            TIERS,
            lambda: {at for loop in self.loops for at in loop.partitions()},
            lambda tier, partition: new_state(self.log, world.store, world.policy, tier, partition),  # type: ignore[arg-type]
            30 if self.dice.random() < 0.2 else 1_000_000,
            clock=lambda: world.now / times.SECOND,
        )

    def _follow(self) -> None:
        """Reads what others wrote, if anything and if it gets around to it."""
        commits = self.world.commits
        if self.standby is None or self._followed == commits or self.dice.random() > self.attention:
            return
        self._followed = commits
        with suppress(Transient):
            self.standby.step()

    def _sight(self, place: int) -> tuple[object, ...]:
        """All that can give a loop something to do, except its timers."""
        world = self.world
        ends = world.inbox_ends(place)
        return ends, self.log.broker.generation, world.broker_up, self.skew, self.deaf_until > world.now

    def partitions(self) -> dict[tuple[int, int], OwnedPartition]:
        """The partitions that it owns, as far as it knows."""
        return {
            (tier, tenure.owned.partition): tenure.owned
            for tier, loop in zip(TIERS, self.loops, strict=True)
            for tenure in loop._tenures.values()
            if tenure.owned.state == "active"
        }

    def active(self) -> dict[tuple[int, int], SchedulerMachine]:
        """Its partitions with their states."""
        return {place: self.machines[place] for place in self.partitions()}

    def durable(self, place: tuple[int, int]) -> bool:
        """Whether all that the memory of its partition says is in the log, and nothing else is."""
        owned = self.partitions()[place]
        producer = owned._producer
        assert isinstance(producer, FaultyProducer)  # noqa: S101 - its log makes no others
        return owned._flight is None and not owned._next.sizes and producer.rules()

    def next_due(self) -> int | None:
        """When a timer of its partitions is due, in the world's time (µs)."""
        return self._due

    def _next_due(self, place: int) -> int | None:
        dues = [due for machine in self.loops[place].machines() if (due := machine.next_due()) is not None]
        return times.from_datetime(min(dues)) - self.skew if dues else None

    def set_clock(self, skew: int) -> None:
        """`skew`: how much it is ahead, in µs."""
        change = self.skew - skew
        self._dues = [due + change if due is not None else None for due in self._dues]
        self._due = self._due + change if self._due is not None else None
        self.skew = skew

    def expire(self) -> None:
        """The broker gives up waiting for its heartbeats."""
        for member in self.log.members:
            member.expire()

    def die(self) -> None:
        """It is gone. What was on its way to the broker may have arrived."""
        self.alive = False
        self.in_for.clear()
        self.reaches_left = 0
        for flight in self.flights:
            if self.dice.random() < 0.5:
                flight.fly()

    def leave(self) -> None:
        """Stops as a process does that is asked to; may die in it."""
        try:
            for loop in self.loops:
                loop.close()
        except Died:
            self.world.died(self)
        self.alive = False
