"""The virtual world: several partitions over one in-memory log, an executor, people, and faults."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from spinner_eventlog import topics
from spinner_eventlog.interface import Fenced, Outgoing, Record, TransactionalProducer
from spinner_eventlog.memory import MemoryLog
from spinner_proto.common.v1.common_pb2 import RunState, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import (
    Command,
    DefinitionPublished,
    InboxMessage,
    PoolMessage,
    ReprocessBehavior,
    RunOrder,
)
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.adapters.machine import EXECUTIONS_TOPIC, Policy, SchedulerMachine
from spinner_scheduler.domain import times
from spinner_scheduler.domain.evolve import evolve_record
from spinner_scheduler.domain.pools import Address, owner_of
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import Limits
from spinner_scheduler.simulation import invariants
from spinner_scheduler.simulation.dags import POOLS, START, random_dag
from spinner_scheduler.simulation.executor import SimulatedExecutor

CLUSTER = "spinner"
TIERS = (1, 2)
PARTITIONS = 2


class Store:
    """Definitions by version, as the machine's cache gives them."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], DagDefinition] = {}

    def put(self, definition: DagDefinition) -> None:
        self._values[(definition.dag_id, definition.version)] = definition

    def get(self, dag_id: str, version: str) -> DagDefinition | None:
        return self._values.get((dag_id, version))

    def wait_for(self, dag_id: str, version: str, seconds: float) -> bool:
        return (dag_id, version) in self._values


@dataclass(slots=True)
class Owner:
    """A process that owns a partition, or believes so."""

    tier: int
    partition: int
    machine: SchedulerMachine
    producer: TransactionalProducer
    position: int = 0


@dataclass(slots=True)
class Totals:
    transitions: int = 0
    runs: int = 0
    crashes: int = 0
    records: int = 0
    invariants: dict[str, int] = field(default_factory=dict)


class World:
    """One seed. `run` raises ViolatedError."""

    def __init__(self, seed: int, faults: bool = True, dags: int = 4, minutes: int = 60) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - not for secrets
        self.faults = faults
        self.now = START
        self.end = START + minutes * 60 * times.SECOND
        self.log = MemoryLog(clock=self.clock, wait=False)
        topics.create_topics(self.log, [CLUSTER], TIERS, {"scheduler_inbox": PARTITIONS})
        self.store = Store()
        self.inbox = self.log.producer("world")
        self.totals = Totals()
        self.checker = invariants.Checker()
        self.policy = Policy(
            CLUSTER,
            TIERS,
            Limits(max_active_tasks=4, default_pool_slots=6, keep_finished_runs=50, queued_timeout=0),
            snapshot_seconds=20,
            snapshot_batch=3,
        )
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self.executor = SimulatedExecutor(self.rng, self._to_inbox, self.later, lambda: self.now)
        self.executor.faulty = faults
        # Inbox messages not yet taken by a committed batch.
        self._pending: Counter[tuple[str, int]] = Counter()
        self._positions: dict[tuple[str, int], int] = {}
        self.definitions: dict[str, DagDefinition] = {}
        self.disturbed: set[str] = set()
        self.owners = [self._own(tier, partition) for tier in TIERS for partition in range(PARTITIONS)]
        self._declare_pools()
        for number in range(dags):
            self._publish(f"dag_{number}", 1)

    # -- time ----------------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        return times.to_datetime(self.now)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        due = self.now + max(1, int(seconds * times.SECOND))
        heapq.heappush(self._agenda, (due, next(self._number), action))

    # -- people --------------------------------------------------------------------------------------------------

    def _to_inbox(self, topic: str, partition: int, key: str, message: InboxMessage) -> None:
        self.inbox.send(Outgoing(topic, key, message, partition))
        self._pending[(topic, partition)] += 1

    def _declare_pools(self) -> None:
        for name, slots in POOLS.items():
            owner = owner_of(name, Address("", 0), CLUSTER, TIERS, PARTITIONS)
            message = InboxMessage(pool=PoolMessage(pool=name))
            message.pool.changed.slots = slots
            message.pool.changed.include_deferred = name == "tiny"
            self._to_inbox(owner.inbox, owner.partition, name, message)

    def _publish(self, dag_id: str, version: int) -> None:
        index = int(dag_id.rpartition("_")[2])
        tier, partition = TIERS[index % 2], (index // 2) % PARTITIONS
        definition = random_dag(self.rng, dag_id, tier, partition, version)
        if version > 1:
            # The same schedule, other tasks.
            first = self.definitions[dag_id]
            for name in ("schedule", "start_date"):
                getattr(definition, name).CopyFrom(getattr(first, name))
            definition.catchup = first.catchup
        self.definitions[dag_id] = definition
        self.store.put(definition)
        published = DefinitionPublished(dag_id=dag_id, version=definition.version)
        self._to_dag(dag_id, InboxMessage(definition_published=published))

    def _to_dag(self, dag_id: str, message: InboxMessage) -> None:
        placement = self.definitions[dag_id].placement
        self._to_inbox(topics.inbox_topic(CLUSTER, placement.tier), placement.partition, dag_id, message)

    def _someone_acts(self) -> None:
        rng = self.rng
        dag_id = rng.choice(list(self.definitions))
        command = Command(request_id=f"request-{next(self._number)}", dag_id=dag_id)
        command.actor.name = "user:someone"
        command.time.CopyFrom(times.to_timestamp(self.now))
        runs = self._runs_of(dag_id)
        kind = rng.choice(
            ["trigger", "pause", "clear", "clear", "mark", "mark_run", "stop", "publish", "backfill", "backfill"]
        )
        if kind == "publish":
            self._publish(dag_id, int(self.definitions[dag_id].version[1:]) + 1)
            return
        if kind == "backfill":
            self._backfill(command)
        elif kind == "trigger" or not runs:
            command.trigger_run.SetInParent()
        elif kind == "pause":
            self.disturbed.add(dag_id)
            command.set_paused.paused = rng.random() < 0.6
        else:
            self._choose(command, kind, rng.choice(runs))
        for _ in range(2 if rng.random() < 0.2 else 1):
            self._to_dag(dag_id, InboxMessage(command=command))

    def _backfill(self, command: Command) -> None:
        rng = self.rng
        known = [name for dag_id, name in self.checker.backfills.requests if dag_id == command.dag_id]
        if known and rng.random() < 0.4:
            name = rng.choice(known)
            what = rng.choice(["pause", "resume", "cancel"])
            if what == "pause":
                command.pause_backfill.backfill_id = name
            elif what == "resume":
                command.resume_backfill.backfill_id = name
            else:
                command.cancel_backfill.backfill_id = name
                command.cancel_backfill.stop_runs = rng.random() < 0.5
            return
        wish = command.create_backfill
        wish.backfill_id = f"b{next(self._number)}"
        since = self.now - rng.randrange(1, 4 * 3600) * times.SECOND
        wish.from_date.CopyFrom(times.to_timestamp(since))
        wish.to_date.CopyFrom(times.to_timestamp(since + rng.randrange(1, 4 * 3600) * times.SECOND))
        wish.run_order = rng.choice([RunOrder.RUN_ORDER_FORWARD, RunOrder.RUN_ORDER_BACKWARD])
        wish.reprocess_behavior = rng.choice([behavior for behavior in ReprocessBehavior.values() if behavior])
        wish.max_active_runs = rng.choice([1, 2, 4])
        wish.skip_callbacks = rng.random() < 0.5
        wish.dry_run = rng.random() < 0.1
        if rng.random() < 0.3:
            wish.task_ids.extend({f"t{rng.randrange(4)}" for _ in range(2)})
        for logical, state in self.checker.backfills.ended_runs(command.dag_id):
            wish.known_runs.add(logical_date=times.to_timestamp(logical), state=state)

    def _choose(self, command: Command, kind: str, run: str) -> None:
        rng = self.rng
        some = [f"t{rng.randrange(8)}"] if rng.random() < 0.7 else []
        if kind == "clear":
            clear = command.clear_tasks
            clear.run_id = run
            clear.task_ids.extend(some)
            clear.downstream = rng.random() < 0.6
            clear.upstream = rng.random() < 0.2
            clear.past = rng.random() < 0.1
            clear.future = rng.random() < 0.1
            clear.only_failed = rng.random() < 0.4
            clear.latest_version = rng.random() < 0.3
        elif kind == "mark":
            marked = command.mark_tasks
            marked.run_id = run
            marked.task_ids.extend(some)
            marked.state = rng.choice(
                [TaskState.TASK_STATE_SUCCESS, TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_SKIPPED]
            )
        elif kind == "mark_run":
            command.mark_run.run_id = run
            command.mark_run.state = rng.choice([RunState.RUN_STATE_SUCCESS, RunState.RUN_STATE_FAILED])
        else:
            command.stop_run.run_id = run

    def _runs_of(self, dag_id: str) -> list[str]:
        for owner in self.owners:
            dag = owner.machine.state.dags.get(dag_id)
            if dag is not None:
                return [*dag.runs, *dag.finished]
        return []

    # -- partitions ----------------------------------------------------------------------------------------------

    def _own(self, tier: int, partition: int) -> Owner:
        producer = self.log.transactional_producer(f"scheduler-{tier}_{partition}")
        machine = SchedulerMachine(self.log, self.store, self.policy, tier, partition)  # type: ignore[arg-type]
        machine.restore()
        group = f"scheduler-{tier}"
        position = self._positions.get((group, partition), 0)
        return Owner(tier, partition, machine, producer, position)

    def _step(self, index: int) -> bool:
        """One batch of one partition, perhaps with a crash; False when there is nothing to do."""
        owner = self.owners[index]
        topic = topics.inbox_topic(CLUSTER, owner.tier)
        most = self.rng.choice([1, 3, 50])
        records: list[Record] = []
        if self._pending[(topic, owner.partition)]:
            records = list(itertools.islice(self.log.read_all(topic, owner.partition, owner.position), most))
        due = owner.machine.next_due()
        if not records and (due is None or due > self.clock()):
            return False
        outgoing = owner.machine.handle(records, self.clock())
        fault = self.rng.random() if self.faults else 1.0
        if fault < 0.02:
            # Dies between deciding and committing.
            self._replace(index)
            return True
        if fault < 0.03:
            # Paused for longer than its session: another owner takes over, then it wakes up and tries to commit.
            self._replace(index)
            try:
                owner.producer.commit(outgoing)
            except Fenced:
                return True
            raise invariants.ViolatedError(f"one writer: a zombie of {owner.machine.name} could commit")
        offsets = owner.producer.commit(outgoing)
        if records:
            owner.position = records[-1].offset + 1
            self._pending[(topic, owner.partition)] -= len(records)
            self._positions[(f"scheduler-{owner.tier}", owner.partition)] = owner.position
        self._observe(outgoing)
        if fault < 0.04:
            # Dies after committing, before it knows.
            self._replace(index)
            return True
        owner.machine.committed(offsets)
        return True

    def _replace(self, index: int) -> None:
        old = self.owners[index]
        self.owners[index] = self._own(old.tier, old.partition)
        self.totals.crashes += 1

    def _observe(self, outgoing: list[Outgoing]) -> None:
        for output in outgoing:
            if output.topic.startswith("task_orders"):
                assert output.value is None or isinstance(output.value, TaskOrder)  # noqa: S101
                self.executor.take(output.key, output.value)
            elif output.topic == EXECUTIONS_TOPIC:
                assert isinstance(output.value, JobExecutionRecord)  # noqa: S101
                self.checker.execution(output.value)
            elif isinstance(output.value, WorkflowEvents):
                self.totals.records += 1
                self.totals.transitions += sum(
                    1
                    for event in output.value.events
                    if event.WhichOneof("kind") in ("task_state_changed", "task_ended", "run_state_changed")
                )
                self.checker.events(output.value)
            elif isinstance(output.value, InboxMessage):
                self._pending[(output.topic, output.partition or 0)] += 1

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> Totals:
        """Lives through the time, lets everything end, and checks all that must hold."""
        if self.faults:
            for _ in range(self.rng.randrange(4, 14)):
                at = self.rng.uniform(1, (self.end - self.now) / times.SECOND)
                self.later(at, self._someone_acts)
        self._live(self.end)
        self._calm()
        # Retries may be a day away; runs of intervals due by now still come one after the other.
        self._live(self.end + 14 * 24 * 3600 * times.SECOND, quiet=True)
        self._check()
        return self.totals

    def _calm(self) -> None:
        self.faults = self.executor.faulty = False
        for dag_id in self.definitions:
            command = Command(request_id=f"calm-{dag_id}", dag_id=dag_id)
            command.set_paused.paused = False
            self._to_dag(dag_id, InboxMessage(command=command))
        for dag_id, backfill_id in self.checker.backfills.requests:
            command = Command(request_id=f"calm-{dag_id}-{backfill_id}", dag_id=dag_id)
            command.resume_backfill.backfill_id = backfill_id
            self._to_dag(dag_id, InboxMessage(command=command))
        for dag_id in self.definitions:
            # From here on no new intervals: what is due by now remains to be done.
            definition = DagDefinition()
            definition.CopyFrom(self.definitions[dag_id])
            definition.version = f"v{int(definition.version[1:]) + 1}"
            definition.end_date.FromMicroseconds(self.now)
            self.definitions[dag_id] = definition
            self.store.put(definition)
            published = DefinitionPublished(dag_id=dag_id, version=definition.version)
            self._to_dag(dag_id, InboxMessage(definition_published=published))

    def _live(self, until: int, quiet: bool = False) -> None:
        idle = 0
        while self.now < until:
            busy = False
            order = list(range(len(self.owners)))
            self.rng.shuffle(order)
            for index in order:
                busy = self._step(index) or busy
            require_none(self.executor.broken)
            if self.rng.random() < 0.05 or quiet:
                invariants.check_limits([owner.machine.state for owner in self.owners], POOLS)
            if self.rng.random() < 0.01:
                self._compare(self.rng.choice(order))
            if busy and self.rng.random() < 0.5:
                continue
            idle = 0 if busy else idle + 1
            if not self._advance(until):
                return

    def _advance(self, until: int) -> bool:
        nexts = [self._agenda[0][0]] if self._agenda else []
        for owner in self.owners:
            due = owner.machine.next_due()
            if due is not None:
                nexts.append(times.from_datetime(due))
            if self._pending[(topics.inbox_topic(CLUSTER, owner.tier), owner.partition)]:
                nexts.append(self.now)
        if not nexts:
            return False
        self.now = max(self.now + 1_000, min(min(nexts), until))
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        return True

    def _compare(self, index: int) -> None:
        """Live memory equals what the log gives: from snapshots, and from all events alone."""
        owner = self.owners[index]
        live = invariants.dump(owner.machine.state)
        fresh = SchedulerMachine(self.log, self.store, self.policy, owner.tier, owner.partition)  # type: ignore[arg-type]
        fresh.restore()
        different = invariants.differences(live, invariants.dump(fresh.state))
        invariants.require(not different, f"snapshots equal live state: {different[:5]}")
        folded = SchedulerMachine(self.log, self.store, self.policy, owner.tier, owner.partition)  # type: ignore[arg-type]
        topic = topics.events_topic(CLUSTER, owner.tier)
        for record in self.log.read_all(topic, owner.partition):
            evolve_record(folded.state, record.decode(WorkflowEvents))
        different = invariants.differences(live, invariants.dump(folded.state))
        invariants.require(not different, f"fold(events) equals live state: {different[:5]}")

    def _check(self) -> None:
        self.checker.finish()
        for index, owner in enumerate(self.owners):
            self._compare(index)
            invariants.check_ended(owner.machine.state)
            self.totals.runs += sum(len(dag.finished) for dag in owner.machine.state.dags.values())
        stuck: set[str] = set()
        for dag_id, definition in self.definitions.items():
            scheduled = {logical for name, logical in self.checker.scheduled if name == dag_id}
            blocked = any(
                isinstance(run, Run) and run.layout.has_past
                for owner in self.owners
                if dag_id in owner.machine.state.dags
                for run in owner.machine.state.dags[dag_id].runs.values()
            )
            if blocked:
                stuck.add(dag_id)
            scheduled |= {logical for (name, _), (logical, _) in self.checker.backfills.runs.items() if name == dag_id}
            invariants.check_complete(definition, scheduled, self.now, blocked)
        self.checker.backfills.finish(stuck)


def require_none(broken: list[str]) -> None:
    if broken:
        raise invariants.ViolatedError(broken[0])
