"""The topic registry."""

from __future__ import annotations

import pytest
from spinner_eventlog import topics
from spinner_eventlog.memory import MemoryLog


def test_names_of_a_cluster():
    planned = topics.planned(["spinner"], [1, 3], {"scheduler_inbox": 5, "task_orders-spinner": 7})
    assert planned["scheduler_inbox-spinner_tier_1"][1] == 5
    assert planned["workflow_events-spinner_tier_3"][1] == 5  # shares its partitions with the inbox
    assert planned["scheduler_snapshots-spinner_tier_3"][1] == 5
    assert planned["task_orders-spinner"][1] == 7
    assert planned["workflow_definitions"][1] == 4
    assert "scheduler_inbox-spinner_tier_2" not in planned


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (topics.inbox_topic("c", 2), "scheduler_inbox-c_tier_2"),
        (topics.events_topic("c", 2), "workflow_events-c_tier_2"),
        (topics.snapshots_topic("c", 2), "scheduler_snapshots-c_tier_2"),
        (topics.orders_topic("c"), "task_orders-c"),
        (topics.grants_topic("c"), "task_grants-c"),
        (topics.logs_topic("c"), "task_logs-c"),
    ],
)
def test_helpers_name_planned_topics(made, expected):
    assert made == expected
    assert made in topics.planned(["c"], [2])
    assert topics.declared(made).topic == expected.partition("-")[0]


def test_limits_follow_the_declaration():
    assert topics.max_message_bytes("workflow_definitions") == 8 * 1024 * 1024
    assert topics.max_message_bytes("somebody_elses") == topics.DEFAULT_MAX_MESSAGE_BYTES
    compacted = topics.registry()["workflow_definitions"]
    assert int(compacted.configs()["max.message.bytes"]) > compacted.max_message_bytes
    assert int(compacted.configs()["segment.bytes"]) > compacted.max_message_bytes


def test_a_memory_log_gets_the_same_topics():
    log = MemoryLog()
    created = topics.create_topics(log, ["c"], [1], {"scheduler_inbox": 3})
    assert set(created) == set(topics.planned(["c"], [1]))
    assert log.partition_count("workflow_events-c_tier_1") == 3
