"""A follower knows what an owner restored from the log knows, and what is still to be saved."""

from __future__ import annotations

import pytest
from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing, Record, TopicPartition
from spinner_eventlog.memory import MemoryLog
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_scheduler.adapters import recovery
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine, new_state
from spinner_scheduler.adapters.standby import Follower, Standby
from spinner_scheduler.simulation import invariants
from spinner_scheduler.simulation.scenario import draw
from spinner_scheduler.simulation.world import CLUSTER, World


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_following_the_log_gives_what_restoring_gives(seed: int) -> None:
    world = World(draw(seed))
    world.run()
    for process in world.processes:
        for tier, partition in process.active():
            _compare(world, tier, partition)


def _compare(world: World, tier: int, partition: int) -> None:
    state = new_state(world.log, world.store, world.policy, tier, partition)  # type: ignore[arg-type]
    follower = Follower(state, recovery.Restored())
    events = list(world.log.read_all(topics.events_topic(CLUSTER, tier), partition))
    snapshots = list(world.log.read_all(topics.snapshots_topic(CLUSTER, tier), partition))
    for number, record in enumerate(_merged(events, snapshots)):
        if record.topic.startswith("workflow_events"):
            follower.event(record)
        else:
            follower.snapshot(record)
        if number % 5 == 0:
            follower.tidy()
    fresh = SchedulerMachine(world.log, world.store, world.policy, tier, partition)  # type: ignore[arg-type]
    fresh.restore()
    assert invariants.differences(invariants.dump(fresh.state), invariants.dump(state)) == []
    assert set(follower.restored.unsaved) == set(fresh._unsaved)
    assert not state.dropped


def _merged(events: list[Record], snapshots: list[Record]) -> list[Record]:
    """In the order of writing; records of one moment with the events first."""
    return sorted([*events, *snapshots], key=lambda record: (record.time_ms, record.topic == snapshots[0].topic))


class Rig:
    """A standby over an in-memory log, on the test's thread."""

    def __init__(self, most_tasks: int = 1_000) -> None:
        clock = iter(range(0, 1_000, 10))
        self.log = MemoryLog(wait=False)
        topics.create_topics(self.log, ["spinner"], [1], {"scheduler_inbox": 2})
        self.owned: set[TopicPartition] = set()
        policy = Policy(tiers=(1,))
        self.standby = Standby(
            self.log,
            "spinner",
            [1],
            lambda: self.owned,
            lambda tier, partition: new_state(self.log, NoDefinitions(), policy, tier, partition),  # type: ignore[arg-type]
            most_tasks,
            clock=lambda: float(next(clock)),
        )

    def write(self, dag_id: str, partition: int) -> None:
        events = WorkflowEvents(dag_id=dag_id)
        events.events.add().dag_updated.paused = True
        self.log.transactional_producer("owner").commit(
            [Outgoing(topics.events_topic("spinner", 1), dag_id, events, partition)]
        )


class NoDefinitions:
    def get(self, dag_id: str, version: str) -> None:
        return None


def test_what_others_own_is_followed_and_handed_over() -> None:
    rig = Rig()
    inbox = topics.inbox_topic("spinner", 1)
    rig.owned = {(inbox, 0)}
    rig.write("before", 1)
    rig.standby._look()
    assert set(rig.standby.following()) == set()  # may only be changing hands
    rig.standby._look()
    assert set(rig.standby.following()) == {(1, 1)}
    rig.write("after", 1)
    events = topics.events_topic("spinner", 1)
    rig.standby._apply(list(rig.log.read_all(events, 1, 2)))
    rig.owned = {(inbox, 0), (inbox, 1)}
    taken = rig.standby.take(1, 1)
    assert taken is not None
    assert list(taken.state.dags) == ["before", "after"]
    assert taken.restored.unsaved == {"dag:before": 0, "dag:after": 2}
    assert rig.standby.take(1, 1) is None
    rig.standby._look()
    assert set(rig.standby.following()) == set()


def test_a_follower_that_fails_is_dropped_and_stops_nothing() -> None:
    rig = Rig()
    rig.standby._look()
    rig.standby._look()
    assert set(rig.standby.following()) == {(1, 0), (1, 1)}
    unknown = WorkflowEvents(dag_id="dag", run_id="never made")
    unknown.events.add().task_state_changed.task_id = "a"
    broken = WorkflowEvents(dag_id="dag")
    broken.events.add()
    events = topics.events_topic("spinner", 1)
    for partition, record in ((0, unknown), (1, broken)):
        rig.log.transactional_producer("owner").commit([Outgoing(events, "dag", record, partition)])
        rig.standby._apply(list(rig.log.read_all(events, partition)))
    # Of a run that was forgotten nothing is to be known; an event of no kind is a newer scheduler's.
    assert set(rig.standby.following()) == {(1, 0)}
