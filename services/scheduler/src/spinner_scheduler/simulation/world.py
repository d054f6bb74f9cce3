"""The virtual world: scheduler processes over one in-memory log, an executor, people, faults, and one clock."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_proto.definitions.v1.definitions_pb2 import AssetSchedule, DagDefinition, TimetableRequest
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.adapters.machine import EXECUTIONS_TOPIC, TIMETABLES_TOPIC, Policy
from spinner_scheduler.domain import times
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.simulation import invariants
from spinner_scheduler.simulation.dags import POOLS, START, random_dag, reduced
from spinner_scheduler.simulation.executor import SimulatedExecutor
from spinner_scheduler.simulation.explained import check_explained
from spinner_scheduler.simulation.memories import Memories
from spinner_scheduler.simulation.people import People
from spinner_scheduler.simulation.processes import CLUSTER, PARTITIONS, TIERS, Process
from spinner_scheduler.simulation.scenario import PROCESSES, SESSION_SECONDS, Act, Scenario
from spinner_scheduler.simulation.timetables import DagSync
from spinner_scheduler.simulation.violations import require

# Retries may be a day away, and intervals due by the end still come one after the other.
_QUIET = 14 * 24 * 3600 * times.SECOND
# Scenarios take some 10,000 turns at most.
_MOST_TURNS = 60_000


class Store:
    """Definitions by version, as the machine's cache gives them."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], DagDefinition] = {}

    def put(self, definition: DagDefinition) -> None:
        self._values[(definition.dag_id, definition.version)] = definition

    def get(self, dag_id: str, version: str) -> DagDefinition | None:
        return self._values.get((dag_id, version))

    def all(self) -> list[DagDefinition]:
        return list(self._values.values())

    def wait_for(self, dag_id: str, version: str, seconds: float) -> bool:
        return (dag_id, version) in self._values


@dataclass(slots=True)
class Totals:
    transitions: int = 0
    runs: int = 0
    crashes: int = 0
    # Commits during which the next batch was decided, and those of them that failed.
    ahead: int = 0
    undone: int = 0
    # Partitions that were taken over from a standby.
    warm: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class World:
    """One scenario. `run` raises ViolatedError, and whatever a bug raises.

    `state_checks`: called with each partition's state, now and then and at the end.
    """

    def __init__(self, scenario: Scenario, trace: int = 0) -> None:
        self.scenario = scenario
        self.rng = scenario.rng("world")
        self.now = START
        self.end = START + scenario.minutes * 60 * times.SECOND
        self.log = MemoryLog(wait=False, clock_ms=self.clock_ms)
        topics.create_topics(self.log, [CLUSTER], TIERS, {"scheduler_inbox": PARTITIONS})
        self.store = Store()
        self.totals = Totals()
        self.trace: deque[str] | None = deque(maxlen=trace) if trace else None
        often = scenario.rng("policy").random() < 0.3
        self.policy = Policy(
            CLUSTER,
            TIERS,
            Limits(max_active_tasks=4, default_pool_slots=6, keep_finished_runs=50, queued_timeout=0),
            snapshot_seconds=20,
            # So few that what belongs together is saved by many transactions, or nearly all with the first.
            snapshot_batch=3 if scenario.rng("snapshots").random() < 0.5 else 40,
            replay_records=40 if often else 20_000,
            # One DAG with each decision, or all with the first: as fast as the machine is, or was.
            rouse_seconds=0 if scenario.rng("rouse").random() < 0.5 else float("inf"),
        )
        self.checker = invariants.Checker(self.store.get, self.policy.limits, POOLS)
        self.state_checks: list[Callable[[PartitionState], None]] = [invariants.check_sums, check_explained]
        self.broker_up = True
        self._broker_back = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._inbox = self.log.producer("world")
        self._held_back: list[Outgoing] = []
        self.executor = SimulatedExecutor(self)
        self.dag_sync = DagSync(self)
        self._tails = {
            (topic, number): 0
            for topic in [
                topics.orders_topic(CLUSTER),
                EXECUTIONS_TOPIC,
                TIMETABLES_TOPIC,
                *(topics.events_topic(CLUSTER, tier) for tier in TIERS),
            ]
            for number in range(self.log.partition_count(topic))
        }
        self.definitions: dict[str, DagDefinition] = {}
        self.people = People(self)
        self.processes = [Process(self, number, 0) for number in range(PROCESSES)]
        self._in_step: list[Process] = []
        self._to_compare: Process | None = None
        self.memories = Memories(self)
        self._inboxes = [
            [self.log.broker.entries(topics.inbox_topic(CLUSTER, tier), number) for number in range(PARTITIONS)]
            for tier in TIERS
        ]
        self._written = [(at, self.log.broker.entries(*at)) for at in self._tails]
        self._turns = 0
        self.commits = 0
        self.people.declare_pools()
        for number in scenario.dags:
            self.publish(f"dag_{number}")
        for act in scenario.acts:
            if act.seconds < scenario.minutes * 60:
                self.later(act.seconds, lambda act=act: self._act(act))  # type: ignore[misc]

    # -- time ----------------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        return times.to_datetime(self.now)

    def clock_ms(self) -> int:
        return self.now // 1000

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        due = self.now + max(1, int(seconds * times.SECOND))
        heapq.heappush(self._agenda, (due, next(self._number), action))

    def note(self, text: str) -> None:
        """Keeps a line of what happened, if anybody wants to read it."""
        if self.trace is not None:
            self.trace.append(f"{(self.now - START) / times.SECOND:12.3f}  {text}")

    def inbox_ends(self, place: int) -> int:
        """Grows with each record of a tier's inboxes. `place`: the tier's in TIERS."""
        ends = 0
        for entries in self._inboxes[place]:
            ends += len(entries)
        return ends

    # -- what others write -----------------------------------------------------------------------------------------

    def send(self, topic: str, partition: int, key: str, message: InboxMessage) -> None:
        """Writes to an inbox, as soon as there is a broker."""
        outgoing = Outgoing(topic, key, message, partition)
        if self.trace is not None:
            self.note(f"to {topic}[{partition}] {key}: {_brief(message)}")
        if self.broker_up:
            self._inbox.send(outgoing)
        else:
            self._held_back.append(outgoing)

    def to_dag(self, dag_id: str, message: InboxMessage) -> None:
        placement = self.definitions[dag_id].placement
        self.send(topics.inbox_topic(CLUSTER, placement.tier), placement.partition, dag_id, message)

    def publish(self, dag_id: str, definition: DagDefinition | None = None) -> None:
        """Publishes a DAG's next version: the given definition, or other tasks under the same schedule."""
        before = self.definitions.get(dag_id)
        version = int(before.version[1:]) + 1 if before is not None else 1
        if definition is None:
            index = int(dag_id.rpartition("_")[2])
            tier, partition = TIERS[index % 2], (index // 2) % PARTITIONS
            definition = random_dag(self.scenario.rng(dag_id), dag_id, tier, partition)
            if before is not None:
                other = random_dag(self.scenario.rng(f"{dag_id}@{version}"), dag_id, tier, partition)
                waits: AssetSchedule | None = None
                if other.schedule.HasField("assets"):
                    waits = AssetSchedule()
                    waits.CopyFrom(other.schedule.assets)
                for name in ("schedule", "start_date"):
                    getattr(other, name).CopyFrom(getattr(definition, name))
                if waits is not None and definition.schedule.HasField("assets"):
                    other.schedule.assets.CopyFrom(waits)
                other.catchup = definition.catchup
                definition = other
            definition = reduced(definition, f"{index}.", self.scenario.without)
        definition.version = f"v{version}"
        self.definitions[dag_id] = definition
        self.store.put(definition)
        published = DefinitionPublished(dag_id=dag_id, version=definition.version)
        self.to_dag(dag_id, InboxMessage(definition_published=published))
        self.dag_sync.published(definition)

    def compute_layout(self, order: TaskOrder) -> str:
        """What a worker of a dynamic DAG publishes: the run's layout; returns its version. Idempotent."""
        source = self.store.get(order.try_key.dag_id, order.version)
        assert source is not None  # noqa: S101 - orders name versions that exist
        layout = DagDefinition()
        layout.CopyFrom(source)
        layout.dynamic = False
        layout.dynamic_source_version = order.version
        layout.version = f"{order.version}-{order.try_key.run_id}"
        self.store.put(layout)
        return layout.version

    def outlets(self, order: TaskOrder) -> list[str]:
        """The assets that an order's task updates."""
        definition = self.store.get(order.try_key.dag_id, order.version)
        found = definition.tasks if definition is not None else []
        return [asset for task in found if task.task_id == order.try_key.task_id for asset in task.outlets]

    # -- faults ----------------------------------------------------------------------------------------------------

    def _act(self, act: Act) -> None:
        rng = self.scenario.rng(f"act {act.number}")
        self.note(f"act {act.number}: {act.kind}")
        self.totals.faults[act.kind] += 1
        process = rng.choice(self.processes)
        kind = act.kind
        if kind in ("die_before_commit", "die_after_commit", "abort", "lose_answer", "lose_ownership"):
            process.in_for.append(kind)
            if rng.random() < 0.5:
                # With a backlog it decides while it commits, so that the fault meets both.
                process.sluggish_until = max(process.sluggish_until, self.now + 120 * times.SECOND)
        elif kind == "die_at_any_point":
            process.reaches_left = rng.randrange(1, 40)
        elif kind == "sluggish":
            process.sluggish_until = self.now + rng.choice([30, 300]) * times.SECOND
        elif kind == "deaf":
            self._deafen(process, rng.choice([5, 20, 60]))
        elif kind == "die_in_recovery":
            for other in self.processes:
                other.dies_in_recovery = other is not process
            self.died(process)
        elif kind == "die":
            self.died(process)
        elif kind == "pause":
            self.pause(process, rng.choice([1, 4, 10, 60, 600]))
        elif kind == "leave":
            if process.alive and process.asleep_until <= self.now:
                process.leave()
                self.later(rng.uniform(0, 30), lambda: self._start(process))
        elif kind == "step_clock":
            size = rng.choice([1, 20, 300, 7200])
            process.set_clock(process.skew + int(rng.choice([-1, 1]) * size * times.SECOND))
            self.note(f"the clock of {process.name} is now {process.skew / times.SECOND:+.0f} s wrong")
        elif kind == "lose_broker":
            self.broker_up = False
            seconds = rng.choice([0.5, 5, 40, 300])
            self._broker_back = max(self._broker_back, self.now + int(seconds * times.SECOND))
            self.later(seconds, self._return_broker)
        elif kind == "executor_dies":
            self.executor.die(rng.choice([1, 30, 200]))
        elif kind == "executor_pauses":
            self.executor.pause(rng.choice([30, 200, 900]))
        elif kind == "executor_slows":
            self.executor.slow(rng.choice([5, 30]), rng.choice([60, 600]))
        else:
            self.people.act(kind, rng)

    def died(self, process: Process) -> None:
        """A process is gone at once; its partitions wait for the end of its session."""
        if not process.alive:
            return
        self.totals.crashes += 1
        self.note(f"{process.name} dies")
        process.die()
        self.later(SESSION_SECONDS, process.expire)
        self.later(self.rng.uniform(0.5, 20), lambda: self._start(process))

    def _start(self, old: Process) -> None:
        if self.processes[old.number] is old:
            life = int(old.name.rpartition(".")[2]) + 1
            self.processes[old.number] = Process(self, old.number, life)

    def pause(self, process: Process, seconds: float) -> None:
        process.asleep_until = max(process.asleep_until, self.now + int(seconds * times.SECOND))
        self.later(seconds, lambda: None)
        if seconds > SESSION_SECONDS:
            self.later(SESSION_SECONDS, process.expire)

    def _deafen(self, process: Process, seconds: float) -> None:
        """Cut off from its group, not from the partitions' leaders: it goes on until somebody fences it."""
        process.deaf_until = max(process.deaf_until, self.now + int(seconds * times.SECOND))
        self.later(seconds, lambda: None)
        if seconds > SESSION_SECONDS:
            self.later(SESSION_SECONDS, process.expire)

    def lose_ownership(self, process: Process, transactional_id: str) -> None:
        """In the middle of a process's batch its session ends and others go on, until it has a successor."""
        epochs = self.log.broker.epochs
        before = epochs[transactional_id]
        process.expire()
        self.now += int(SESSION_SECONDS * times.SECOND)
        for _ in range(20):
            for other in self.processes:
                if other not in self._in_step and other.awake():
                    self._step(other)
            if epochs[transactional_id] != before:
                return

    def _return_broker(self) -> None:
        if self.now < self._broker_back:
            return
        self.broker_up = True
        held, self._held_back = self._held_back, []
        for outgoing in held:
            self._inbox.send(outgoing)

    # -- reading what was committed ----------------------------------------------------------------------------------

    def observe(self) -> None:
        """Reads what the latest commit wrote: the executor its orders, the checker everything."""
        for at, entries in self._written:
            topic, partition = at
            position = self._tails[at]
            if len(entries) == position:
                continue
            records, self._tails[at] = self.log.broker.read(at, position, 1_000_000)
            for record in records:
                if topic == EXECUTIONS_TOPIC:
                    self.checker.execution(record.decode(JobExecutionRecord))
                elif topic == TIMETABLES_TOPIC:
                    asked = record.decode(TimetableRequest) if record.value is not None else None
                    self.dag_sync.take(record.key, asked)
                elif record.headers.get("ce_type") == WorkflowEvents.DESCRIPTOR.full_name:
                    events = record.decode(WorkflowEvents)
                    if self.trace is not None:
                        self.note(f"  {topic}[{partition}]@{record.offset} {record.key}: {_brief_events(events)}")
                    self.checker.events(events)
                else:
                    order = record.decode(TaskOrder) if record.value is not None else None
                    self.checker.order(record.key, order)
                    self.executor.take(record.key, order)
        self.commits += 1
        self.checker.committed()

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> Totals:
        """Lives through the time, lets everything end, and checks all that must hold."""
        self.live_for_its_time()
        self._calm()
        self._live(self.end + _QUIET)
        self._check()
        self.totals.transitions = self.checker.transitions
        return self.totals

    def live_for_its_time(self) -> None:
        """Only the first part of `run`: it stops in the middle of everything."""
        self._live(self.end)

    def _calm(self) -> None:
        """No more faults, intervals or watchers: what is due by now remains to be done."""
        self._broker_back = 0
        self._return_broker()
        for process in self.processes:
            process.set_clock(0)
            process.asleep_until = process.deaf_until = process.sluggish_until = process.reaches_left = 0
            process.in_for.clear()
            process.dies_in_recovery = False
        self.executor.calm()
        self.people.calm()
        for dag_id in self.definitions:
            definition = DagDefinition()
            definition.CopyFrom(self.definitions[dag_id])
            definition.end_date.FromMicroseconds(self.now)
            del definition.assets[:]
            self.publish(dag_id, definition)

    def _step(self, process: Process) -> bool:
        self._in_step.append(process)
        try:
            return process.step()
        finally:
            self._in_step.pop()

    def _live(self, until: int) -> None:
        while self.now < until:
            self._turns += 1
            require(self._turns < _MOST_TURNS, "comes_to_rest", f"{self._turns} turns, {len(self._agenda)} plans")
            busy = False
            for process in self.rng.sample(self.processes, len(self.processes)):
                if process.awake():
                    busy = self._step(process) or busy
            chance = self.rng.random()
            if chance < 0.003:
                self._to_compare = self.rng.choice(self.processes)
            elif chance < 0.02:
                self._check_states()
            self.memories.look_at_suspects()
            if self._to_compare is not None and self.memories.compare(self._to_compare):
                self._to_compare = None
            if busy and self.broker_up and chance < 0.5:
                continue
            if not self._advance(until, busy):
                return

    def _advance(self, until: int, busy: bool) -> bool:
        nexts = [self._agenda[0][0]] if self._agenda else []
        if busy:
            nexts.append(self.now + times.SECOND // 2 if not self.broker_up else self.now)
        for process in self.processes:
            if process.awake() and (due := process.next_due()) is not None:
                nexts.append(due)
        if not nexts:
            return False
        self.now = max(self.now + 1_000, min(min(nexts), until))
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        return True

    # -- checks ----------------------------------------------------------------------------------------------------

    def states(self) -> list[PartitionState]:
        return [machine.state for process in self.processes if process.alive for machine in process.active().values()]

    def _check_states(self) -> None:
        for process in self.processes:
            if process.awake():
                for machine in process.active().values():
                    for check in self.state_checks:
                        check(machine.state)

    def owner_of(self, tier: int, partition: int) -> Process | None:
        """The process that the group has given a partition to."""
        topic = topics.inbox_topic(CLUSTER, tier)
        member = self.log.broker.group(f"scheduler-{topics.cell(CLUSTER, tier)}").owner.get((topic, partition))
        for process in self.processes:
            if any(mine._member == member for mine in process.log.members):
                return process
        return None

    def _check(self) -> None:
        require(
            sum(len(process.active()) for process in self.processes) == len(TIERS) * PARTITIONS,
            "each_partition_has_one_owner",
            str({process.name: sorted(process.active()) for process in self.processes}),
        )
        for process in self.processes:
            self.memories.compare(process)
        self._check_states()
        states = self.states()
        for state in states:
            invariants.check_ended(state)
        for state in states:
            self.totals.runs += sum(len(dag.finished) for dag in state.dags.values())
        stuck = {
            dag_id
            for state in states
            for dag_id, dag in state.dags.items()
            if any(run.layout.has_past for run in dag.runs.values())
        }
        self.checker.finish(self.people.requests, stuck | self.people.removed)
        for dag_id, definition in self.definitions.items():
            if dag_id not in stuck | self.people.removed:
                made = set(self.checker.scheduled[dag_id]) | self.checker.backfills.dates_of(dag_id)
                invariants.check_complete(definition, made, self.now)


def _brief(message: InboxMessage) -> str:
    kind = message.WhichOneof("kind") or ""
    inner = getattr(message, kind)
    if kind == "task_report":
        key = inner.try_key
        outcome = f" outcome {inner.ended.outcome}" if inner.HasField("ended") else ""
        where = f"{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"
        return f"{inner.WhichOneof('kind')} {where} segment {inner.segment}{outcome}"
    if kind == "command":
        name = inner.WhichOneof("kind") or ""
        return f"{inner.request_id} {name} {{{' '.join(str(getattr(inner, name)).split())}}}"
    return f"{kind} {' '.join(str(inner).split())[:160]}"


def _brief_events(record: WorkflowEvents) -> str:
    texts = []
    for event in record.events:
        kind = event.WhichOneof("kind") or ""
        inner = getattr(event, kind)
        words: list[str] = [kind]
        for name in ("task_id", "map_index", "try_number", "segment", "state", "version", "request_id", "length"):
            if value := getattr(inner, name, None):
                words.append(f"{name}={value}")
        texts.append(" ".join(words))
    return "; ".join(texts)
