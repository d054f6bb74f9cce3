"""Creating the registry's topics on a broker."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing, Transient
from spinner_eventlog.kafka import KafkaLog


def test_creating_is_idempotent_and_follows_the_declarations(kafka_bootstrap):
    prefix = f"t{uuid.uuid4().hex[:8]}."
    created = topics.create_topics(kafka_bootstrap, ["c"], [1], {"scheduler_inbox": 3}, prefix)
    assert set(created) == set(topics.planned(["c"], [1]))
    assert topics.create_topics(kafka_bootstrap, ["c"], [1], {"scheduler_inbox": 3}, prefix) == []
    assert set(topics.create_topics(kafka_bootstrap, ["c"], [1, 2], prefix=prefix)) == {
        topics.events_topic("c", 2),
        topics.inbox_topic("c", 2),
        topics.snapshots_topic("c", 2),
    }
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    found = admin.list_topics(timeout=10).topics
    assert len(found[f"{prefix}workflow_events-c_tier_1"].partitions) == 3
    orders = ConfigResource(ResourceType.TOPIC, f"{prefix}task_orders-c")
    events = ConfigResource(ResourceType.TOPIC, f"{prefix}workflow_events-c_tier_1")
    configs = {resource: future.result() for resource, future in admin.describe_configs([orders, events]).items()}
    assert configs[orders]["cleanup.policy"].value == "compact"
    assert configs[events]["cleanup.policy"].value == "delete"
    assert configs[events]["retention.ms"].value == "-1"


def test_a_broker_that_is_away_is_transient():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:9"):
        topics.create_topics("127.0.0.1:9", timeout_seconds=0.5)


def test_a_topic_that_is_missing_is_transient_however_often_it_is_written_to(kafka_bootstrap):
    """The first write learns it from the broker, later ones from the client's own memory."""
    log = KafkaLog(kafka_bootstrap, "test")
    producer = log.producer("writer")
    try:
        for _ in range(3):
            with pytest.raises(Transient, match="there_is_none"):
                producer.send(Outgoing("there_is_none", "key", None))
                producer.flush(30)
    finally:
        producer.close()
        log.close()
