"""Real scheduler processes over a real broker, driven and watched from outside through their topics."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import psutil
from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing, Record
from spinner_eventlog.kafka import KafkaLog
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage
from spinner_proto.scheduler.v1.scheduler_pb2 import GetStatusRequest, PartitionStatus
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from spinner_servers import kafka, process

ROOT = Path(__file__).resolve().parent.parent.parent
CLUSTER = "spinner"
PARTITIONS = 2
PROBE = "probe"
SESSION_SECONDS = 2.0


@contextlib.contextmanager
def broker(stated: str = "") -> Iterator[str]:
    """Bootstrap servers: those stated, or of a broker started for this."""
    if stated:
        yield stated
        return
    data = Path(tempfile.mkdtemp(prefix="spinner-bench-kafka-"))
    port = process.free_port()
    try:
        launch = kafka.prepare(data, port, process.free_port(taken=[port]))
        process.start(launch, with_parent=True)
        yield launch.address
    finally:
        process.stop(data, grace_seconds=0)
        shutil.rmtree(data, ignore_errors=True)


class SchedulerProcess:
    """One scheduler, from its start until `stop` or `kill`."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, number: int) -> None:
        self.log = folder / f"scheduler-{number}.log"
        env = {
            **os.environ,
            **process.bytecode_environment(ROOT / "build" / "bytecode"),
            "SPINNER_KAFKA": bootstrap,
            "SPINNER_TOPIC_PREFIX": prefix,
            "SPINNER_TIERS": "1",
            "SPINNER_GRPC_ADDRESS": f"127.0.0.1:{process.free_port()}",
            "SPINNER_DEFAULT_POOL_SLOTS": "1000000",
        }
        self.address = env["SPINNER_GRPC_ADDRESS"]
        self.started = time.monotonic()
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "spinner_scheduler"], env=env, stdout=output, stderr=output
            )
        self._seen = psutil.Process(self._process.pid)

    def stop(self) -> None:
        """Asks it to end, and waits."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def rss_mib(self) -> float:
        return float(self._seen.memory_info().rss) / 2**20

    def cpu_seconds(self) -> float:
        used = self._seen.cpu_times()
        return float(used.user + used.system)

    def partitions(self) -> list[PartitionStatus]:
        """What it says of its partitions; nothing while it does not answer."""
        try:
            with grpc.insecure_channel(self.address) as channel:
                answer = SchedulerServiceStub(channel).GetStatus(GetStatusRequest(), timeout=20)
        except grpc.RpcError:
            return []
        return list(answer.partitions)

    def states(self) -> list[str]:
        return sorted(partition.state for partition in self.partitions())


class Installation:
    """Topics under a prefix of their own, and schedulers on them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"b{uuid.uuid4().hex[:8]}-"
        self.folder = Path(tempfile.mkdtemp(prefix="spinner-bench-"))
        counts = {"scheduler_inbox": PARTITIONS, "task_orders": PARTITIONS}
        topics.create_topics(bootstrap, [CLUSTER], [1], counts, prefix=self.prefix)
        self.log = KafkaLog(bootstrap, "bench", self.prefix)
        self.producer = self.log.producer("bench")
        self.inbox = topics.inbox_topic(CLUSTER, 1)
        self.events = topics.events_topic(CLUSTER, 1)
        self.snapshots = topics.snapshots_topic(CLUSTER, 1)
        self.orders = topics.orders_topic(CLUSTER)
        self.schedulers: list[SchedulerProcess] = []
        self._probes = 0

    def start(self) -> SchedulerProcess:
        made = SchedulerProcess(self.bootstrap, self.prefix, self.folder, len(self.schedulers))
        self.schedulers.append(made)
        return made

    def publish(self, definitions: Iterable[DagDefinition]) -> None:
        """Writes definitions, then tells the schedulers; a DAG's partition is stored in it."""
        announced = []
        for definition in definitions:
            key = f"{definition.dag_id}@{definition.version}"
            self.producer.send(Outgoing("workflow_definitions", key, definition))
            published = DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
            message = InboxMessage(definition_published=published)
            announced.append(Outgoing(self.inbox, definition.dag_id, message, definition.placement.partition))
            if len(announced) % 10_000 == 0:
                self.producer.flush(120)
        self.producer.flush(120)
        for number, outgoing in enumerate(announced):
            self.producer.send(outgoing)
            if number % 10_000 == 0:
                self.producer.flush(120)
        self.producer.flush(120)

    def publish_probes(self) -> None:
        """One DAG in each partition, to be asked for a sign of life."""
        for partition in range(PARTITIONS):
            definition = empty(f"{PROBE}_{partition}", partition)
            definition.tasks.add(task_id="only")
            self.publish([definition])

    def probe(self, partition: int) -> None:
        """Sends a command whose answer is the partition's next decision."""
        self._probes += 1
        command = Command(request_id=f"{self.prefix}{self._probes}", dag_id=f"{PROBE}_{partition}")
        command.set_paused.paused = self._probes % 2 == 1
        command.time.FromDatetime(datetime.now(UTC))
        self.producer.send(Outgoing(self.inbox, command.dag_id, InboxMessage(command=command), partition))
        self.producer.flush()

    def tail(self, *names: str) -> Tail:
        """Reads from now on."""
        return Tail(self.log, [(name, partition) for name in names for partition in range(PARTITIONS)])

    def await_dags(self, scheduler: SchedulerProcess, number: int, limit_seconds: float) -> None:
        """Waits until a scheduler owns all partitions and has taken so many DAGs."""

        def taken() -> bool:
            partitions = scheduler.partitions()
            return scheduler_owns(partitions) and sum(one.dags for one in partitions) >= number

        wait_until(taken, limit_seconds, f"the scheduler takes {number} DAGs")

    def quiet(self, seconds: float, limit_seconds: float) -> None:
        """Waits until neither an event nor a snapshot was written for a while."""
        deadline = time.monotonic() + limit_seconds
        last, ends = time.monotonic(), self._ends()
        while time.monotonic() - last < seconds:
            time.sleep(0.25)
            if (now := self._ends()) != ends:
                last, ends = time.monotonic(), now
            if time.monotonic() > deadline:
                raise TimeoutError(f"the schedulers did not come to rest in {limit_seconds:g} s: {self.logs()}")

    def _ends(self) -> list[int]:
        return [
            self.log.end_offset(topic, partition)
            for topic in (self.events, self.snapshots)
            for partition in range(PARTITIONS)
        ]

    def logs(self) -> str:
        return "\n".join(scheduler.log.read_text()[-2000:] for scheduler in self.schedulers)

    def close(self) -> None:
        for scheduler in self.schedulers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                scheduler.stop()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tail:
    """Committed records of some topics, as they become visible."""

    def __init__(self, log: KafkaLog, partitions: list[tuple[str, int]]) -> None:
        self._reader = log.reader(partitions, "latest", tail_only=True)

    def until(self, enough: Callable[[Record, float], bool], limit_seconds: float) -> float:
        """Gives each record and the wall time of its arrival to `enough`, until that says so; returns that time."""
        deadline = time.monotonic() + limit_seconds
        while time.monotonic() < deadline:
            for record in self._reader.poll(5_000, 0.05):
                at = time.time()
                if enough(record, at):
                    return at
        raise TimeoutError(f"not seen within {limit_seconds:g} s")

    def close(self) -> None:
        self._reader.close()


def empty(dag_id: str, partition: int) -> DagDefinition:
    """A definition without tasks and schedule."""
    definition = DagDefinition(dag_id=dag_id, version="v1", catchup=True)
    definition.schedule.none.SetInParent()
    definition.placement.cluster, definition.placement.tier = CLUSTER, 1
    definition.placement.partition = partition
    return definition


def scheduler_owns(partitions: list[PartitionStatus]) -> bool:
    return [one.state for one in partitions] == ["active"] * PARTITIONS


def wait_until(condition: Callable[[], bool], limit_seconds: float, what: str) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit_seconds:g} s")
        time.sleep(0.25)
