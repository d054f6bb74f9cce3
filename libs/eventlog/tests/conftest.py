"""Worlds: an event log of either kind with topics of its own, for the contract suite and the loop's tests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from spinner_eventlog.interface import EventLog, Record
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.memory import MemoryLog


class World:
    """A log that several "processes" can open, and its topics."""

    def __init__(self, bootstrap: str | None) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"t{uuid.uuid4().hex[:10]}."
        self.opened: list[EventLog] = []
        self.memory = MemoryLog()

    def log(self) -> EventLog:
        """As a process of its own would open it."""
        if self.bootstrap is None:
            return self.memory
        opened = KafkaLog(self.bootstrap, "test", prefix=self.prefix)
        self.opened.append(opened)
        return opened

    def topic(self, name: str, partitions: int = 1, compact: bool = False) -> str:
        if self.bootstrap is None:
            self.memory.create_topic(name, partitions)
            return name
        from confluent_kafka.admin import AdminClient, NewTopic

        configs = {"cleanup.policy": "compact" if compact else "delete", "max.message.bytes": "1200000"}
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(self.prefix + name, partitions, config=configs)]).values():
            future.result()
        eventually(lambda: self.prefix + name in admin.list_topics(timeout=5).topics)
        return name


def eventually(condition: Callable[[], object], seconds: float = 20.0, what: str = "") -> object:
    """The condition's first true value; fails after the bound."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


def values(records: list[Record]) -> list[str]:
    return [record.key for record in records]


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    bootstrap = request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else None
    made = World(bootstrap)
    yield made
    for log in made.opened:
        log.close()


@pytest.fixture
def make_world() -> Iterator[Callable[[str], World]]:
    made: list[World] = []

    def make(bootstrap: str) -> World:
        made.append(World(bootstrap))
        return made[-1]

    yield make
    for world in made:
        for log in world.opened:
            log.close()


@pytest.fixture
def kafka_world(make_world: Callable[[str], World], kafka_bootstrap: str) -> World:
    return make_world(kafka_bootstrap)


@pytest.fixture
def wait_for() -> Callable[..., object]:
    return eventually
