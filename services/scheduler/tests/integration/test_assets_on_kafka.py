"""B8: updates of an asset reach DAGs in other partitions exactly once, on real Kafka, whoever dies."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spinner_eventlog.interface import Outgoing
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvent, WorkflowEvents
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage

from services.scheduler.tests.integration.world import EVENTS, INBOX, SECONDS, World

RUNS = 30


@pytest.fixture
def world(kafka_bootstrap: str, tmp_path: Path) -> Iterator[World]:
    made = World(kafka_bootstrap, tmp_path)
    yield made
    made.close()


def dag(dag_id: str, partition: int, *assets: str, outlets: list[str] | None = None) -> DagDefinition:
    made = DagDefinition(dag_id=dag_id, version="v1", max_active_runs=100)
    made.placement.cluster, made.placement.tier, made.placement.partition = "spinner", 1, partition
    if assets:
        for asset in assets:
            made.schedule.assets.expression.any.items.add(asset=asset)
    else:
        made.schedule.none.SetInParent()
    made.tasks.add(task_id="task", outlets=outlets)
    return made


def publish(world: World, made: DagDefinition) -> None:
    world.producer.send(Outgoing("workflow_definitions", f"{made.dag_id}@v1", made))
    world.producer.flush()
    message = InboxMessage(definition_published=DefinitionPublished(dag_id=made.dag_id, version="v1"))
    world.producer.send(Outgoing(INBOX, made.dag_id, message, made.placement.partition))
    world.producer.flush()


def events(world: World) -> list[tuple[str, str, WorkflowEvent]]:
    return [
        (decoded.dag_id, decoded.run_id, event)
        for partition in range(world.log.partition_count(EVENTS))
        for record in world.log.read_all(EVENTS, partition)
        for decoded in [record.decode(WorkflowEvents)]
        for event in decoded.events
    ]


def consumed(world: World) -> dict[str, Counter[tuple[str, int]]]:
    """Updates by the DAG whose runs were made of them."""
    found: dict[str, Counter[tuple[str, int]]] = {"near": Counter(), "far": Counter()}
    for dag_id, _, event in events(world):
        if dag_id in found and event.HasField("run_created"):
            found[dag_id].update((u.asset, u.sequence) for u in event.run_created.asset_events)
    return found


def subscribed(world: World) -> int:
    return sum(event.asset_event.HasField("subscribed") for _, _, event in events(world))


def until(world: World, holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: {world.logs()}"
        world.work()


def test_each_update_reaches_each_dag_once_although_schedulers_are_killed(world: World) -> None:
    first = world.start_scheduler(1)
    publish(world, dag("near", 0, "a", "b"))
    publish(world, dag("far", 1, "a", "b"))
    publish(world, dag("maker", 0, outlets=["a", "b"]))
    until(world, lambda: subscribed(world) == 4, "both DAGs wait for both assets")
    for number in range(RUNS):
        world.trigger("maker", f"run_{number}")
    until(world, lambda: sum(consumed(world)["far"].values()) >= RUNS // 3, "some updates have arrived")
    first.send_signal(signal.SIGKILL)
    first.wait()
    world.start_scheduler(2)
    world.orders = world.log.reader([("task_orders-spinner", 0), ("task_orders-spinner", 1)])
    expected = Counter({(asset, number): 1 for asset in "ab" for number in range(1, RUNS + 1)})
    until(world, lambda: all(len(found) >= 2 * RUNS for found in consumed(world).values()), "all updates have arrived")
    assert consumed(world) == {"near": expected, "far": expected}
