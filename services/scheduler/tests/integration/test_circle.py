"""A scheduler process over real Kafka, with a scripted executor in the test."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from spinner_eventlog.interface import Outgoing, Transient
from spinner_proto.common.v1.common_pb2 import RunState, TaskState
from spinner_proto.explain.v1.explain_pb2 import Explanation, Subject
from spinner_proto.inbox.v1.inbox_pb2 import (
    DefinitionPublished,
    InboxMessage,
)
from spinner_proto.scheduler.v1.scheduler_pb2 import ExplainRequest, GetStatusRequest, PartitionOwner
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub

from services.scheduler.tests.integration.world import INBOX, ORDERS, SECONDS, World, diamond


@pytest.fixture
def world(kafka_bootstrap: str, tmp_path: Path) -> Iterator[World]:
    made = World(kafka_bootstrap, tmp_path)
    yield made
    made.close()


def test_diamond_runs_and_status_is_served(world: World) -> None:
    world.start_scheduler(1)
    world.publish(diamond("diamond"))
    world.trigger("diamond", "one")

    assert world.work_until_ended({"one"}) == {"one": RunState.RUN_STATE_SUCCESS}

    records = world.executions()
    assert sorted((r.job_name, r.try_number, r.status) for r in records) == [
        ("first", 1, "success"),
        ("last", 1, "success"),
        ("middle_0", 1, "success"),
        ("middle_1", 1, "success"),
    ]
    # Each order ended in a tombstone.
    for partition in (0, 1):
        assert world.log.read_compacted(ORDERS, partition) == {}
    address = _wait_for_address(world.folder / "status-1.json")
    with grpc.insecure_channel(address) as channel:
        answer = SchedulerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    found = {partition.name: partition for partition in answer.partitions}
    assert set(found) == {"spinner_tier_1_0", "spinner_tier_1_1"}
    assert found["spinner_tier_1_0"].dags == 1
    assert found["spinner_tier_1_0"].live_runs == 0


def _wait_for_address(path: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if path.exists():
            status = json.loads(path.read_text())
            if status["state"] == "ready":
                return str(status["grpc"])
        time.sleep(0.05)
    raise AssertionError("the scheduler did not become ready")


def test_poison_in_the_inbox_is_kept_apart_and_stops_nothing(world: World) -> None:
    world.start_scheduler(1)
    world.publish(diamond("diamond"))
    world.producer.send(Outgoing(INBOX, "x", None, 0, raw=b"\xff\xff\xff not protobuf"))
    missing = DefinitionPublished(dag_id="diamond", version="nowhere")
    world.producer.send(Outgoing(INBOX, "diamond", InboxMessage(definition_published=missing), 0))
    world.trigger("diamond", "one")

    assert world.work_until_ended({"one"}) == {"one": RunState.RUN_STATE_SUCCESS}
    letters = [
        record
        for partition in range(world.log.partition_count("dead_letters"))
        for record in world.log.read_all("dead_letters", partition)
    ]
    assert len(letters) == 2
    assert any("nowhere" in record.headers["reason"] for record in letters)


def test_kill_9_in_the_middle_loses_and_doubles_nothing(world: World) -> None:
    first = world.start_scheduler(1)
    world.publish(diamond("wide", 60))
    runs = {f"run_{number}" for number in range(5)}
    for run_id in runs:
        world.trigger("wide", run_id)
    deadline = time.monotonic() + SECONDS
    done = 0
    while done < 60:
        done += world.work(7)
        assert time.monotonic() < deadline, world.logs()

    first.send_signal(signal.SIGKILL)
    first.wait()
    world.start_scheduler(2)

    # Orders that the test had not answered are still in the topic: a new executor reads it from its beginning.
    world.orders = world.log.reader([(ORDERS, 0), (ORDERS, 1)])
    ended = world.work_until_ended(runs)
    assert ended == dict.fromkeys(runs, RunState.RUN_STATE_SUCCESS)
    records = Counter((r.instance_id, r.job_name, r.map_index, r.try_number) for r in world.executions())
    assert len(records) == 5 * 62
    assert set(records.values()) == {1}
    finished = Counter(
        (run_id, event.task_ended.task_id)
        for _, run_id, event in world.events()
        if event.WhichOneof("kind") == "task_ended" and event.task_ended.state == TaskState.TASK_STATE_SUCCESS
    )
    assert set(finished.values()) == {1}


# -- why nothing runs ----------------------------------------------------------------------------------------------


def owner(world: World) -> PartitionOwner | None:
    """Who the log says owns partition 0."""
    records = world.log.read_compacted("partition_owners", 0)
    record = records.get("spinner_tier_1_0")
    return record.decode(PartitionOwner) if record is not None else None


def ask(world: World, subject: Subject, not_from: str = "") -> tuple[str, Explanation]:
    """The owner's address and answer, as soon as the log names another owner than `not_from` that answers."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(grpc.RpcError, Transient):
            found = owner(world)
            if found is not None and found.address != not_from:
                with grpc.insecure_channel(found.address) as channel:
                    request = ExplainRequest(subject=subject, partition="spinner_tier_1_0")
                    answer = SchedulerServiceStub(channel).Explain(request, timeout=5)
                    return found.address, answer.explanation
        time.sleep(0.05)
    raise AssertionError(f"no owner explained {subject}: {world.logs()}")


def test_the_owner_explains_also_after_a_takeover(world: World) -> None:
    first = world.start_scheduler(1)
    world.publish(diamond("why"))
    world.trigger("why", "one")
    subject = Subject(dag_id="why", run_id="one")
    address, found = ask(world, subject)
    assert {reason.code for reason in found.reasons} == {"NO_EXECUTOR_ANSWER", "UPSTREAM_NOT_DONE"}
    assert found.partition == "spinner_tier_1_0"

    with grpc.insecure_channel(address) as channel:
        stub = SchedulerServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Explain(ExplainRequest(subject=subject, partition="spinner_tier_9_9"), timeout=5)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Explain(ExplainRequest(subject=Subject(dag_id="why", run_id="absent")), timeout=5)
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND

    world.start_scheduler(2)
    first.send_signal(signal.SIGKILL)
    other, again = ask(world, subject, not_from=address)
    assert other != address
    # The new owner knows the same, and since when.
    assert list(again.reasons) == list(found.reasons)


def test_a_warm_standby_takes_over_within_seconds_and_without_replay(world: World) -> None:
    first = world.start_scheduler(1)
    address = _wait_for_address(world.folder / "status-1.json")
    world.publish(diamond("wide", 60))
    runs = {f"run_{number}" for number in range(5)}
    _wait_until(lambda: _states(address) == {"spinner_tier_1_0": "active", "spinner_tier_1_1": "active"}, world)
    world.start_scheduler(2)
    second = _wait_for_address(world.folder / "status-2.json")
    for run_id in runs:
        world.trigger("wide", run_id)
    # Either process owns one partition now; the DAG's is followed by the other.
    _wait_until(lambda: sorted(_states(second).values()) == ["active", "standby"], world)
    _wait_until(lambda: sorted(_states(address).values()) == ["active", "standby"], world)
    _wait_until(lambda: world.work(20) > 0, world)
    owner, other = (first, 2) if _states(address)["spinner_tier_1_0"] == "active" else (world.processes[1], 1)

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    begin = time.monotonic()
    before = len(world.ended_runs())
    log = world.folder / f"scheduler-{other}.log"
    _wait_until(lambda: "took over spinner_tier_1_0" in log.read_text(), world)
    seconds = time.monotonic() - begin

    assert before < 5
    world.orders = world.log.reader([(ORDERS, 0), (ORDERS, 1)])
    assert world.work_until_ended(runs) == dict.fromkeys(runs, RunState.RUN_STATE_SUCCESS)
    records = Counter((r.instance_id, r.job_name, r.map_index, r.try_number) for r in world.executions())
    assert len(records) == 5 * 62
    assert set(records.values()) == {1}
    # The session is 2 s; the rest is for a busy machine.
    assert seconds < 12


def _states(address: str) -> dict[str, str]:
    with grpc.insecure_channel(address) as channel:
        answer = SchedulerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
    return {partition.name: partition.state for partition in answer.partitions}


def _wait_until(condition: Callable[[], bool], world: World) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, world.logs()
        time.sleep(0.05)
