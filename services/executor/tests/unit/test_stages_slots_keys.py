"""Stages are merged, slots are shared out by priority, keys and limits are read right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from spinner_executor.api.layouts import content_version, layout_record
from spinner_executor.domain import keys, resources, stages
from spinner_executor.domain.slots import Slots
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

T0 = datetime(2026, 11, 27, 8, tzinfo=UTC)


def _seconds(result: c.StageResult) -> float:
    return result.end_time.ToMicroseconds() / 1e6 - result.start_time.ToMicroseconds() / 1e6


def test_queue_and_launch_stages_are_measured_by_the_executor() -> None:
    own = stages.executor_stages(T0, T0 + timedelta(seconds=2), T0 + timedelta(seconds=3), T0 + timedelta(seconds=9))
    assert [(s.stage, _seconds(s), s.outcome) for s in own] == [
        (c.STAGE_QUEUE, 2, c.STAGE_OUTCOME_SUCCESS),
        (c.STAGE_LAUNCH, 1, c.STAGE_OUTCOME_SUCCESS),
    ]


def test_a_try_that_never_started_fails_in_its_last_stage() -> None:
    own = stages.executor_stages(T0, T0, None, T0 + timedelta(seconds=4), "no bundle")
    assert (own[-1].stage, own[-1].outcome, own[-1].message) == (c.STAGE_LAUNCH, c.STAGE_OUTCOME_FAILED, "no bundle")
    assert stages.executor_stages(T0, None, None, T0, "cancelled")[-1].stage == c.STAGE_QUEUE


def test_the_workers_stages_come_after_the_executors_without_doubles() -> None:
    own = [stages.stage_result(c.STAGE_LAUNCH, T0, T0)]
    reported = [stages.stage_result(s, T0, T0) for s in (c.STAGE_LAUNCH, c.STAGE_PARSE, c.STAGE_TASK_EXEC)]
    merged = stages.merge(own, own, reported)
    assert [s.stage for s in merged] == [c.STAGE_LAUNCH, c.STAGE_LAUNCH, c.STAGE_PARSE, c.STAGE_TASK_EXEC]


def test_slots_go_by_priority_then_age() -> None:
    slots = Slots(1)
    assert slots.ask("a", 0)
    assert not slots.ask("low", 1)
    assert not slots.ask("high", 5)
    assert not slots.ask("high2", 5)
    assert slots.waiting == 3
    assert slots.release("a") == ["high"]
    assert slots.release("high2") == []
    assert slots.release("high") == ["low"]
    assert slots.ask("low", 1)


def test_requests_for_memory_add_up_to_what_there_is() -> None:
    slots = Slots(10, memory=100)
    assert slots.ask("a", 0, 60)
    assert not slots.ask("large", 5, 60)
    assert not slots.ask("small", 0, 10)  # would fit, but must not pass the one before it
    assert slots.release("a") == ["large", "small"]
    assert slots.used_memory == 70
    slots.release("large")
    slots.release("small")
    assert slots.ask("larger than all", 0, 500)
    assert not slots.ask("next", 0, 1)


def test_an_adopted_worker_counts_also_above_the_limit() -> None:
    slots = Slots(1)
    slots.take("adopted1")
    slots.take("adopted2")
    assert not slots.ask("new", 0)
    assert slots.release("adopted1") == []
    assert slots.release("adopted2") == ["new"]


def test_equal_triggers_of_one_segment_are_one_request() -> None:
    one = keys.triggered_request("d/r/t/-1/1", 0, "target", "", b"{}")
    assert one == keys.triggered_request("d/r/t/-1/1", 0, "target", "", b"{}")
    assert one != keys.triggered_request("d/r/t/-1/2", 0, "target", "", b"{}")
    assert one != keys.triggered_request("d/r/t/-1/1", 0, "target", "", b'{"a":1}')


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", 0),
        ("{}", 0),
        ('{"limit_memory": "64Mi"}', 64 << 20),
        ('{"limit_memory": "1.5G"}', 1_500_000_000),
        ('{"limit_memory": 1024}', 1024),
    ],
)
def test_memory_limits(text: str, limit: int) -> None:
    assert resources.memory_of(text)[1] == limit


@pytest.mark.parametrize("text", ["[]", "{", '{"limit_memory": "much"}'])
def test_unreadable_resources_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(resources.InvalidResources, match=r"\w+"):
        resources.memory_of(text)


def test_a_layout_is_stamped_and_its_version_is_its_content() -> None:
    order = TaskOrder(version="source", bundle=c.BundleRef(name="b", version="v1"), relative_path="d.py")
    order.try_key.dag_id = "dyn"
    placement = c.Placement(cluster="spinner", tier=2, partition=1)
    record = layout_record(DagDefinition(dynamic=True), order, placement, T0)
    later = layout_record(DagDefinition(dynamic=True), order, placement, T0 + timedelta(hours=1))
    assert isinstance(record.value, DagDefinition)
    assert record.key == later.key == f"dyn@{content_version(record.value)}"
    assert record.value.dynamic_source_version == "source"
    assert record.headers["spinner-tier"] == "2"
    order.version = "other"
    assert layout_record(DagDefinition(dynamic=True), order, placement, T0).key != record.key
