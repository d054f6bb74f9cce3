"""Grants: durable before they are committed, written again after an abort and by a new owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from spinner_eventlog.interface import Fenced, Outgoing, Poison, Record, Transient
from spinner_eventlog.memory import MemoryLog
from spinner_executor.adapters.grants import GrantWriter
from spinner_executor.adapters.orders import OrderFeed
from spinner_executor.domain.keys import try_key_text
from spinner_executor.domain.model import Restored
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.orders.v1.orders_pb2 import TaskGrant

TOPIC = "task_grants-c"


def in_a_loop(test: Callable[[MemoryLog], Coroutine[object, object, None]]) -> Callable[[MemoryLog], None]:
    """A coroutine as a test, on an event loop of its own."""

    def run(log: MemoryLog) -> None:
        asyncio.run(test(log))

    return run


def grant(task: str, worker: str = "w") -> TaskGrant:
    key = TryKey(dag_id="d", run_id="r", task_id=task, map_index=-1, try_number=1)
    return TaskGrant(try_key=key, segment=0, worker=worker)


def keys(log: MemoryLog, uncommitted: bool = False) -> list[str]:
    return [record.key.split("/")[2] for record in log.read_all(TOPIC, 0, uncommitted=uncommitted)]


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create_topic(TOPIC)
    made.create_topic("task_orders-c")
    return made


def writer(log: MemoryLog, on_fenced: Callable[[], None] = lambda: None, restored: tuple[TaskGrant, ...] = ()):
    producer = log.transactional_producer("executor-c-0")
    return GrantWriter(producer, TOPIC, 0, asyncio.get_running_loop(), on_fenced, restored)


@in_a_loop
async def test_a_grant_is_there_before_it_is_committed_and_committed_at_the_end(log: MemoryLog) -> None:
    told: list[str] = []
    grants = writer(log)
    await asyncio.wait_for(grants.write(grant("a"), lambda: told.append("a")), 5)
    assert told == ["a"]
    assert keys(log, uncommitted=True) == ["a"]
    await asyncio.to_thread(grants.close)
    assert keys(log) == ["a"]


@in_a_loop
async def test_an_idle_writer_commits_by_itself(log: MemoryLog) -> None:
    grants = writer(log)
    await asyncio.wait_for(grants.write(grant("a"), lambda: None), 5)
    async with asyncio.timeout(10):
        while keys(log) != ["a"]:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(grants.close)


@in_a_loop
async def test_after_an_abort_all_that_was_appended_is_written_again(log: MemoryLog) -> None:
    failing = iter([Transient("the broker is away")])

    def before_commit(_: str) -> None:
        for error in failing:
            raise error

    log.before_commit = before_commit
    grants = writer(log)
    for task in ("a", "b"):
        await asyncio.wait_for(grants.write(grant(task), lambda: None), 5)
    grants.forget(try_key_text(grant("a").try_key))
    async with asyncio.timeout(10):
        while keys(log) != ["a", "b"]:  # a's latest record is its tombstone
            await asyncio.sleep(0.02)
    assert [record.value is None for record in log.read_all(TOPIC, 0)] == [True, False]
    await asyncio.to_thread(grants.close)


@in_a_loop
async def test_a_fenced_writer_grants_nothing_and_says_so(log: MemoryLog) -> None:
    fenced = asyncio.Event()
    grants = writer(log, fenced.set)
    await asyncio.wait_for(grants.write(grant("a"), lambda: None), 5)
    log.transactional_producer("executor-c-0")
    with pytest.raises(Fenced):
        await asyncio.wait_for(grants.write(grant("b"), lambda: None), 5)
    await asyncio.wait_for(fenced.wait(), 5)
    assert keys(log, uncommitted=True) == ["a"]
    await asyncio.to_thread(grants.close)


class _Owner:
    def __init__(self) -> None:
        self.restored: asyncio.Future[Restored] = asyncio.get_running_loop().create_future()

    def assigned(self, restored: Restored, producer: object) -> None:
        self.restored.set_result(restored)

    def revoked(self, partition: int) -> None: ...
    def ordered(self, partition: int, changes: object) -> None: ...


@in_a_loop
async def test_a_new_owner_knows_grants_that_were_never_committed_and_commits_them(log: MemoryLog) -> None:
    died = log.transactional_producer("executor-c-0")
    died.append([Outgoing(TOPIC, try_key_text(grant("a").try_key), grant("a", "first"), 0)])
    owner = _Owner()

    def poisoned(poison: Poison, record: Record) -> None:
        raise AssertionError(poison)

    feed = OrderFeed(log, "c", owner, asyncio.get_running_loop(), poisoned, lambda error: None)
    feed.start()
    restored = await asyncio.wait_for(owner.restored, 10)
    assert [granted.worker for granted in restored.grants.values()] == ["first"]
    assert keys(log) == []
    grants = writer(log, restored=tuple(restored.grants.values()))
    await asyncio.to_thread(grants.close)
    assert keys(log) == ["a"]
    await asyncio.to_thread(feed.stop)
