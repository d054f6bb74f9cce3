"""Schedulers that are killed, paused, cut off or doubled, and a broker that dies: checked from the topics alone.

A broker of its own with two listeners: the second goes through a proxy that can be cut, which parts one scheduler
from the broker and nobody else. Each test ends with all runs ended and an independent checker that finds nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from spinner_cli.verification.reading import verify
from spinner_eventlog.interface import Fenced, TopicPartition, Transient
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.owned_partition import OwnedPartition, Recipe
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_scheduler.adapters.definitions import Definitions
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine
from spinner_servers import kafka, process
from spinner_servers.process import Launch, free_port

from services.scheduler.tests.integration.world import INBOX, SECONDS, World, diamond


class Proxy:
    """Forwards bytes to the broker, until it is cut: then it is silent, as a network that loses every packet."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._through = threading.Event()
        self._through.set()
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._through.clear()

    def mend(self) -> None:
        """Old connections are gone, new ones go through."""
        old, self._sockets = self._sockets, []
        for end in old:
            end.close()
        self._through.set()

    def close(self) -> None:
        self._server.close()
        self.mend()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self._through.wait()
        try:
            broker = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        self._sockets += [client, broker]
        for source, sink in ((client, broker), (broker, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._through.wait()
                sink.sendall(data)
        for end in (source, sink):
            end.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[Launch, Proxy]]:
    data = Path(tempfile.mkdtemp(prefix="spinner-chaos-"))
    port = free_port()
    second = free_port(taken=[port])
    launch = kafka.prepare(data, port, free_port(taken=[port, second]))
    proxy = Proxy(second)
    file = data / "server.properties"
    lines = file.read_text().splitlines()
    listeners = next(line for line in lines if line.startswith("listeners="))
    lines.remove(listeners)
    lines += [
        f"{listeners},FAR://127.0.0.1:{second}",
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{proxy.port}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT",
    ]
    file.write_text("\n".join(lines) + "\n")
    try:
        process.start(launch, with_parent=True)
        yield launch, proxy
    finally:
        proxy.close()
        process.stop(data, grace_seconds=0)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def world(broker: tuple[Launch, Proxy], tmp_path: Path) -> Iterator[World]:
    made = World(broker[0].address, tmp_path)
    yield made
    for started in made.processes:
        with contextlib.suppress(ProcessLookupError):
            started.send_signal(signal.SIGCONT)
    made.close()


RUNS = {f"run_{number}" for number in range(4)}


def begin(world: World) -> None:
    """Some runs, in the middle of their tasks."""
    definition = diamond("wide", 40)
    definition.max_active_tasks = 5
    world.publish(definition)
    for run_id in sorted(RUNS):
        world.trigger("wide", run_id)
    work(world, 30)


def work(world: World, orders: int) -> None:
    deadline = time.monotonic() + SECONDS
    done = 0
    while done < orders:
        done += world.work(7)
        assert time.monotonic() < deadline, world.logs()


def work_for(world: World, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not until():
        world.work(3)


def check(world: World, runs: set[str] = RUNS) -> None:
    """All runs end; and what the topics say is in order."""
    # Orders that were not answered before are still in the topic: the executor reads it from its beginning.
    world.orders = world.log.reader([("task_orders-spinner", 0), ("task_orders-spinner", 1)])
    world.work_until_ended(runs)
    deadline = time.monotonic() + SECONDS
    while True:
        found = verify(world.log, world.log.committed_offset, "spinner", [1], ended=True)
        # A command or the last tombstones may be a moment behind.
        if not found.broken or time.monotonic() > deadline:
            break
        world.work()
    assert found.violations == [], world.logs()
    assert (found.runs, found.live_runs, found.tries) == (len(runs), 0, len(runs) * 42)


def owns(world: World, number: int) -> bool:
    """Whether a process has owned partition 0, by what it logs."""
    path = world.folder / f"scheduler-{number}.log"
    return path.exists() and f"own {INBOX}[0]" in path.read_text()


def take_over(world: World, number: int) -> None:
    """Goes on until another process owns partition 0."""
    work_for(world, SECONDS, lambda: owns(world, number))
    assert owns(world, number), world.logs()


def test_schedulers_killed_one_after_the_other(world: World) -> None:
    first = world.start_scheduler(1)
    begin(world)
    second = world.start_scheduler(2)
    first.kill()
    take_over(world, 2)
    second.kill()
    world.start_scheduler(3)
    check(world)


def test_a_scheduler_paused_for_longer_than_its_session(world: World) -> None:
    first = world.start_scheduler(1)
    begin(world)
    world.start_scheduler(2)
    first.send_signal(signal.SIGSTOP)
    take_over(world, 2)
    work_for(world, 1)
    first.send_signal(signal.SIGCONT)
    check(world)


def test_a_scheduler_cut_off_from_the_broker(world: World, broker: tuple[Launch, Proxy]) -> None:
    _, proxy = broker
    near, world.bootstrap = world.bootstrap, f"127.0.0.1:{proxy.port}"
    world.start_scheduler(1)
    world.bootstrap = near
    begin(world)
    world.start_scheduler(2)
    proxy.cut()
    take_over(world, 2)
    work_for(world, 1)
    proxy.mend()
    check(world)


def test_the_broker_killed_twice(world: World, broker: tuple[Launch, Proxy]) -> None:
    launch, _ = broker
    world.start_scheduler(1)
    begin(world)
    for _ in range(2):
        process.stop(launch.data, grace_seconds=0)
        process.start(launch, with_parent=True)
        with contextlib.suppress(Transient):
            world.work(5)
    check(world)


class Claim:
    """Stands in for a group that gives its partition to whoever asks."""

    def __init__(self, log: KafkaLog) -> None:
        group = f"{log.prefix}scheduler-spinner_tier_1"
        consumer = Consumer({"bootstrap.servers": log.bootstrap, "group.id": group})
        self.group_metadata = consumer.consumer_group_metadata()
        consumer.close()
        self._log = log

    def committed(self, topic: str, partition: int) -> int | None:
        return self._log.committed_offset("scheduler-spinner_tier_1", topic, partition)


def test_two_owners_who_both_insist(world: World) -> None:
    """A second owner of the same partition fences the first, is fenced by it, and comes again."""
    world.start_scheduler(1)
    begin(world)
    definitions = Definitions(world.log)
    definitions.start()
    recipe = Recipe(
        log=world.log,
        transactional_id_for=lambda topic, partition: f"scheduler-spinner_tier_1_{partition}",
        machine_factory=lambda topic, partition: SchedulerMachine(
            world.log, definitions, Policy("spinner", (1,), snapshot_seconds=0.2), 1, partition
        ),
        clock=lambda: datetime.now(UTC),
        decode=InboxMessage,
        on_poison=None,
        max_batch=50,
        max_wait_seconds=0.05,
        patience=lambda record: 0.0,
    )
    at: TopicPartition = (INBOX, 0)
    fenced = commits = 0
    runs = set(RUNS)
    deadline = time.monotonic() + 1.5 * SECONDS
    try:
        while fenced < 2 and time.monotonic() < deadline:
            rival = OwnedPartition(recipe, Claim(world.log), *at)  # type: ignore[arg-type]
            try:
                rival.open()
                # An owner learns that it was fenced when it has something to write: there is always more to do.
                while time.monotonic() < deadline:
                    if not world.work(3) and len(runs) < 40:
                        runs.add(f"run_{len(runs)}")
                        world.trigger("wide", f"run_{len(runs) - 1}")
                    commits += rival.step()
            except Fenced:
                fenced += 1
            finally:
                rival.close()
    finally:
        definitions.stop()
    assert fenced >= 2 and commits >= 2, world.logs()
    check(world, runs)
