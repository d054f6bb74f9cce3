"""Requests are learned from successes, raised after an out-of-memory end, set by people, and survive a kill."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.usage.v1.usage_pb2 import TaskResources, TaskUsage
from spinner_servers import cgroups
from stage import Stage, until

MIB = 1024 * 1024
HUNGRY = """
def task(client, work):
    held = bytearray(700 * 1024 * 1024)
    held[::4096] = b"x" * len(held[::4096])
"""
PATIENT = """
import os, time
def task(client, work):
    while not os.path.exists("GO"):
        time.sleep(0.02)
"""


SUICIDE = """
import os, signal
def task(client, work):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def learned(stage: Stage) -> TaskUsage | None:
    records = [r for r in stage.log.read_all("task_usage", 0) if r.key == "d/t"]
    return records[-1].decode(TaskUsage) if records else None


def run(stage: Stage, number: int, **more: object) -> c.Usage:
    stage.run_id = f"manual__{number}"
    order = stage.order("t", **more)
    stage.write(order)
    return stage.wait(order).ended.usage


def test_the_sixth_try_asks_for_what_five_successes_used_also_after_a_kill(stage: Stage) -> None:
    executor = stage.executor()
    configured = json.dumps({"request_memory": "2Gi", "limit_memory": "4Gi"})
    for number in range(5):
        usage = run(stage, number, resources_json=configured)
        assert (usage.memory_request_bytes, usage.memory_source) == (2048 * MIB, "configured")
    until(lambda: (found := learned(stage)) and len(found.samples) == 5, "five samples written")
    executor.kill()
    executor.wait()
    stage.executor()
    usage = run(stage, 5, resources_json=configured)
    assert usage.memory_source == "learned"
    assert 64 * MIB <= usage.memory_request_bytes < 512 * MIB
    assert usage.memory_limit_bytes == 4096 * MIB
    found = learned(stage)
    assert found is not None
    assert found.learned_request_bytes == usage.memory_request_bytes
    assert (found.configured_request_bytes, found.configured_limit_bytes) == (2048 * MIB, 4096 * MIB)


def test_the_try_after_one_that_ran_out_of_memory_gets_more(stage: Stage) -> None:
    stage.executor()
    bundle = stage.bundle(hungry=HUNGRY)
    limit = json.dumps({"limit_memory": "600Mi"})
    first = stage.order("t", bundle, "hungry.py", resources_json=limit)
    stage.write(first)
    ended = stage.wait(first, seconds=60).ended
    assert (ended.outcome, ended.usage.memory_limit_bytes) == (c.OUTCOME_OUT_OF_MEMORY, 600 * MIB)
    again = stage.order("t", bundle, "hungry.py", try_number=2, resources_json=limit)
    stage.write(again)
    ended = stage.wait(again, seconds=60).ended
    assert (ended.outcome, ended.usage.memory_limit_bytes, ended.usage.memory_source) == (
        c.OUTCOME_SUCCESS, 912 * MIB, "raised",
    )  # fmt: skip


def test_what_a_person_sets_counts_for_the_next_try(stage: Stage) -> None:
    stage.executor()
    chosen = TaskResources(dag_id="d", task_id="t", memory_request_bytes=300 * MIB, memory_limit_bytes=500 * MIB)
    chosen.time.FromDatetime(datetime.now(UTC))
    stage.producer.send(Outgoing("task_resources", "d/t", chosen))
    stage.producer.flush()
    until(lambda: run(stage, len(stage.reports)).memory_source == "set", "the setting counts")
    usage = run(stage, len(stage.reports))
    assert (usage.memory_request_bytes, usage.memory_limit_bytes) == (300 * MIB, 500 * MIB)


def test_requests_wait_for_the_memory_that_others_ask_for(stage: Stage) -> None:
    stage.executor(executor_memory="1Gi")
    bundle = stage.bundle(wait=PATIENT.replace("GO", str(stage.folder / "go")))
    half = json.dumps({"request_memory": "600Mi"})
    orders = [stage.order(f"t{n}", bundle, "wait.py", resources_json=half) for n in range(2)]
    small = stage.order("small", resources_json=json.dumps({"request_memory": "100Mi"}), priority=9)
    stage.write(orders[0])
    stage.wait(orders[0], "started")
    stage.write(orders[1])
    stage.write(small)
    (stage.folder / "go").touch()
    for order in (*orders, small):
        assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    started = [r.try_key.task_id for r in stage.reports if r.WhichOneof("kind") == "started"]
    first_end = next(i for i, r in enumerate(stage.reports) if r.WhichOneof("kind") == "ended")
    assert started[0] == "t0"
    assert "t1" not in [r.try_key.task_id for r in stage.reports[:first_end] if r.WhichOneof("kind") == "started"]


def test_workers_that_the_kernel_kills_for_memory_are_told_from_others_that_are_killed(
    stage: Stage, control_group: str
) -> None:
    """The limit is the control group's of the executor and its workers, as a container's or a service's."""
    stage.executor(groups=cgroups.folders(control_group))
    cgroups.limit_memory(control_group, 600 * MIB)
    hungry, suicide = stage.bundle(hungry=HUNGRY), stage.bundle(suicide=SUICIDE)
    for number, (bundle, path, outcome) in enumerate(
        [
            (suicide, "suicide.py", c.OUTCOME_CRASHED),
            (hungry, "hungry.py", c.OUTCOME_OUT_OF_MEMORY),
            (suicide, "suicide.py", c.OUTCOME_CRASHED),
        ]
    ):
        order = stage.order(f"t{number}", bundle, path)
        stage.write(order)
        ended = stage.wait(order, seconds=60).ended
        assert (ended.outcome, ended.exit_code) == (outcome, 137), ended.message
