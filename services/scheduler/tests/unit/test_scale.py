"""Large states: restarts before all is decoded, thousands of DAGs due at once, snapshots while deciding ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage, TriggerRun
from spinner_proto.snapshots.v1.snapshots_pb2 import Snapshot
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.simulation.invariants import differences, dump

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS, SNAPSHOTS, INBOX = (
    name("spinner", 1) for name in (topics.events_topic, topics.snapshots_topic, topics.inbox_topic)
)


def definition(dag_id: str, tasks: int, due: datetime | None = None) -> DagDefinition:
    made = DagDefinition(dag_id=dag_id, version="v1", catchup=True)
    made.placement.cluster, made.placement.tier = "spinner", 1
    if due:
        made.schedule.once.SetInParent()
        made.start_date.FromDatetime(due)
    else:
        made.schedule.none.SetInParent()
    for position in range(tasks):
        made.tasks.add(task_id=f"t{position}", upstream=[position - 20] if position >= 20 else [], priority_weight=1)
    return made


class Store:
    def __init__(self, *definitions: DagDefinition) -> None:
        self._known = {made.dag_id: made for made in definitions}

    def get(self, dag_id: str, version: str) -> DagDefinition | None:
        return self._known.get(dag_id)

    def wait_for(self, dag_id: str, version: str, seconds: float) -> bool:
        return dag_id in self._known


class Rig:
    """One partition over an in-memory log. `step` decides; `land` commits what was decided, in order."""

    def __init__(self, store: Store, **policy: object) -> None:
        self.log = MemoryLog(wait=False)
        topics.create_topics(self.log, ["spinner"], [1], {"scheduler_inbox": 1})
        self.store = store
        self.policy = Policy(tiers=(1,), limits=Limits(default_pool_slots=1_000_000), **policy)  # type: ignore[arg-type]
        self.now = START
        self.position = 0
        self.decided: list[list[Outgoing]] = []
        self.machine = self.owner()

    def owner(self) -> SchedulerMachine:
        self.producer = self.log.transactional_producer("owner")
        made = SchedulerMachine(self.log, self.store, self.policy, 1, 0)  # type: ignore[arg-type]
        made.restore()
        return made

    def send(self, *messages: InboxMessage) -> None:
        producer = self.log.producer("test")
        for message in messages:
            producer.send(Outgoing(INBOX, "x", message, 0))

    def step(self) -> list[Outgoing]:
        records = list(self.log.read_all(INBOX, 0, self.position))
        self.position += len(records)
        outgoing = self.machine.handle(records, self.now)
        if records or outgoing:
            self.decided.append(outgoing)
        return outgoing

    def land(self) -> None:
        for outgoing in self.decided:
            self.machine.committed(self.producer.commit(outgoing))
        self.decided = []

    def settle(self) -> None:
        while True:
            self.step()
            self.land()
            due = self.machine.next_due()
            if due is None or due > self.now:
                return

    def snapshots(self) -> set[str]:
        return set(self.log.read_compacted(SNAPSHOTS, 0))


def publish(dag_id: str) -> InboxMessage:
    return InboxMessage(definition_published=DefinitionPublished(dag_id=dag_id, version="v1"))


def trigger(dag_id: str) -> InboxMessage:
    return InboxMessage(command=Command(request_id=dag_id, dag_id=dag_id, trigger_run=TriggerRun(run_id="r")))


def test_fifty_thousand_live_task_instances_come_back_from_snapshots_as_they_were() -> None:
    names = [f"dag_{number}" for number in range(250)]
    rig = Rig(Store(*(definition(name, 200) for name in names)))
    rig.send(*map(publish, names), *map(trigger, names))
    rig.settle()
    for _ in range(20):
        rig.now += timedelta(seconds=6)
        rig.settle()
    assert {f"run:{name}/r" for name in names} <= rig.snapshots()
    live = dump(rig.machine.state)

    again = rig.owner()
    assert again.state.sleeping_runs == again.state.live_runs == 250  # nothing was decoded
    assert again.state.live_task_instances() == 50_000
    assert again.state.pools["default_pool"].used == 250 * 16
    assert again.next_due() is not None  # to decode them, a few at a time
    assert differences(live, dump(again.state)) == []
    assert again.state.sleeping_runs == 0


def test_the_first_decision_after_a_restart_decodes_only_what_it_needs() -> None:
    names = [f"dag_{number}" for number in range(40)]
    rig = Rig(Store(*(definition(name, 20) for name in names)))
    rig.send(*map(publish, names), *map(trigger, names))
    rig.settle()
    rig.now += timedelta(seconds=6)
    for _ in range(10):  # all that is new is saved, a few entities at a time
        rig.settle()
        rig.now += timedelta(milliseconds=20)
    state = rig.owner().state
    assert len(state.asleep) == 40
    assert state.dags["dag_7"].runs["r"].unfinished == 20
    assert len(state.asleep) == 39
    assert state.live_runs == 40


def test_all_runs_that_are_due_are_made_before_most_are_started() -> None:
    due = START + timedelta(hours=1)
    made = {f"dag_{number}": definition(f"dag_{number}", 20, due) for number in range(300)}
    limits = Limits(default_pool_slots=1_000_000, decision_events=200)
    state = PartitionState(Layouts(lambda dag_id, _: made[dag_id]), Address("inbox", 0), limits=limits)
    decide(state, [publish(dag_id) for dag_id in made], int(START.timestamp() * 1e6))
    now = int(due.timestamp() * 1e6)
    running_when_all_were_made = None
    decisions = 0
    while state.unsettled or 0 < state.timers.next_due() <= now:
        result = decide(state, [], now)
        decisions += 1
        # A run may bring 20 tasks and some events of its own.
        assert sum(len(record.events) for record in result.records) <= 200 + 2 * 30
        if running_when_all_were_made is None and state.live_runs == 300:
            running_when_all_were_made = sum(dag.active for dag in state.dags.values())
    assert running_when_all_were_made is not None and running_when_all_were_made < 30
    assert sum(dag.active for dag in state.dags.values()) == 300
    assert decisions > 20


def test_no_snapshot_is_taken_of_what_is_not_durable_yet() -> None:
    rig = Rig(Store(definition("a", 1), definition("b", 1)), snapshot_seconds=1.0)
    rig.send(publish("a"), publish("b"))
    rig.settle()
    rig.now += timedelta(seconds=2)
    rig.send(trigger("b"))
    rig.step()  # in flight: its snapshots were taken before it
    rig.now += timedelta(seconds=2)
    rig.send(trigger("a"))
    saved = {out.key for out in rig.step() if out.topic == SNAPSHOTS}
    assert not any("b" in key.partition(":")[2].split("/") for key in saved)
    rig.land()
    rig.settle()
    rig.now += timedelta(seconds=2)
    rig.settle()
    assert {"dag:a", "dag:b", "run:a/r", "run:b/r"} <= rig.snapshots()
    assert differences(dump(rig.machine.state), dump(rig.owner().state)) == []


def test_a_next_owner_never_has_much_to_read() -> None:
    names = [f"dag_{number}" for number in range(60)]
    rig = Rig(Store(*(definition(name, 1) for name in names)), snapshot_seconds=3600.0, replay_records=50)
    for name in names:
        rig.send(publish(name), trigger(name))
        rig.settle()
    start = rig.log.read_compacted(SNAPSHOTS, 0)["partition:0"].decode(Snapshot).events_offset
    unread = len(list(rig.log.read_all(EVENTS, 0, start)))
    assert 0 < unread < 200
