"""The partition loop's promises on a real broker, with processes that die and sleep at the worst moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from spinner_eventlog.interface import Fenced, Outgoing, Transient
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.loop import PartitionLoop
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionPublished, InboxMessage
from spinner_servers import kafka
from spinner_servers import process as servers

PROGRAM = Path(__file__).with_name("counting_process.py")


class Rig:
    """Topics, their inputs and outputs, and the processes in between."""

    def __init__(self, world, folder: Path, partitions: int) -> None:
        self.world, self.folder, self.partitions = world, folder, partitions
        self.log = world.log()
        for topic in ("inbox", "events"):
            world.topic(topic, partitions)
        world.topic("dead_letters")
        shorten_session(world, "counting")
        self.producer = self.log.producer("test")
        self.sent: list[list[str]] = [[] for _ in range(partitions)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROGRAM), self.world.bootstrap, self.world.prefix, name, str(self.folder)]
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        self.processes.append(process)
        return process

    def send(self, *texts: str, partition: int = 0) -> None:
        self.queue(*texts, partition=partition)
        self.producer.flush()

    def queue(self, *texts: str, partition: int = 0) -> None:
        for text in texts:
            message = InboxMessage(definition_published=DefinitionPublished(dag_id=text))
            self.producer.send(Outgoing("inbox", text, message, partition))
            self.sent[partition].append(text)

    def outputs(self, partition: int) -> list[str]:
        try:
            records = list(self.log.read_all("events", partition))
        except Transient:  # the broker has just come back
            return []
        return [record.decode(InboxMessage).definition_published.dag_id for record in records]

    def by(self, partition: int) -> list[str]:
        return [record.headers["by"] for record in self.log.read_all("events", partition)]

    def done(self) -> bool:
        assert all(process.poll() in (None, 0, -signal.SIGKILL) for process in self.processes), self.logs()
        return all(len(self.outputs(at)) >= len(self.sent[at]) for at in range(self.partitions))

    def check_exactly_once(self) -> None:
        for at in range(self.partitions):
            assert self.outputs(at) == [f"{text}={n}" for n, text in enumerate(self.sent[at], 1)], self.logs()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)


def shorten_session(world, group: str) -> None:
    """A killed member's partitions are free after 3 s instead of 6: the tests wait for that often."""
    entry = ConfigEntry("consumer.session.timeout.ms", "3000", incremental_operation=AlterConfigOpType.SET)
    group_config = ConfigResource(ResourceType.GROUP, world.prefix + group, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    for future in admin.incremental_alter_configs([group_config]).values():
        future.result()


@pytest.fixture
def make_rig(kafka_world, tmp_path) -> Iterator:
    made: list[Rig] = []

    def make(partitions: int) -> Rig:
        made.append(Rig(kafka_world, tmp_path, partitions))
        return made[-1]

    yield make
    for rig in made:
        rig.stop()


def test_five_kills_in_mid_batch_lose_and_double_nothing(make_rig, wait_for):
    rig = make_rig(1)
    worker = rig.start("a")
    for life in range(5):
        rig.send(*(f"{life}-{n}" for n in range(30)), f"die{life}", *(f"{life}-{n}" for n in range(30, 60)))
        worker.wait(60)
        assert worker.returncode == -signal.SIGKILL, rig.logs()
        worker = rig.start("a")
    rig.send("last")
    wait_for(rig.done, 60)
    worker.terminate()
    assert worker.wait(15) == 0
    rig.check_exactly_once()


def test_three_deaths_of_the_broker_lose_and_double_nothing(make_world, tmp_path, wait_for):
    port = servers.free_port()
    data = tmp_path / "kafka"
    launch = kafka.prepare(data, port, servers.free_port(taken=[port]))
    servers.start(launch, with_parent=True)
    try:
        rig = Rig(make_world(launch.address), tmp_path, 2)
        worker = rig.start("a")
        for life in range(3):
            for partition in range(2):
                rig.send(*(f"{life}-{n}" for n in range(100)), partition=partition)
            servers.stop(data, grace_seconds=0)
            for partition in range(2):
                rig.queue(*(f"{life}-late-{n}" for n in range(100)), partition=partition)
            servers.start(launch, with_parent=True)
            rig.producer.flush(60)
            wait_for(rig.done, 60, "all inputs decided after the broker came back")
        worker.terminate()
        assert worker.wait(15) == 0
        rig.check_exactly_once()
        rig.stop()
    finally:
        servers.stop(data, grace_seconds=0)


class Broken:
    """A client that can end no transaction any more."""

    def __init__(self, client: Producer, error: KafkaError) -> None:
        self._client, self._error = client, error

    def __getattr__(self, name: str) -> object:
        if name in ("begin_transaction", "commit_transaction", "abort_transaction"):
            return self._refuse
        return getattr(self._client, name)

    def _refuse(self, *_: float) -> None:
        raise KafkaException(self._error)


@pytest.mark.parametrize(
    "error",
    [
        # Both were seen after a full disk: it had cut the broker's record of the transaction; a commit had no answer.
        KafkaError(KafkaError.INVALID_TXN_STATE, "Failed to end transaction", fatal=True),
        KafkaError(KafkaError._CONFLICT, "Conflicting commit_transaction API call is already in progress"),
    ],
    ids=lambda error: error.name(),
)
def test_a_writer_that_is_broken_for_good_says_so_and_a_new_one_goes_on(kafka_world, wait_for, error):
    kafka_world.topic("inbox", 1)
    log = kafka_world.log()
    record = Outgoing("inbox", "a", InboxMessage(definition_published=DefinitionPublished(dag_id="a")), 0)
    for broken_while in (lambda writer: writer.append([record]), lambda writer: None):
        writer = log.transactional_producer("writer")
        broken_while(writer)
        writer._client = Broken(writer._client, error)
        for _ in range(2):
            with pytest.raises(Fenced):
                writer.commit([record])
    log.transactional_producer("writer").commit([record])
    # The broker writes a transaction's marker just after it has confirmed the commit.
    wait_for(lambda: [found.key for found in log.read_all("inbox", 0)] == ["a"], 30)


class Silent:
    """An admin client that never answers, as librdkafka's was seen to be after a restart of the broker."""

    def list_offsets(self, request: dict[object, object], **_: object) -> dict[object, Future[object]]:
        return {at: Future() for at in request}


def test_an_admin_request_that_is_never_answered_is_given_up_and_the_next_one_works(kafka_world):
    kafka_world.topic("inbox", 1)
    log = KafkaLog(kafka_world.bootstrap, "test", kafka_world.prefix, timeout_seconds=0.5)
    log._admin_client = Silent()
    with pytest.raises(Transient, match="no answer"):
        log.end_offset("inbox", 0)
    log._timeout = 10.0
    assert log.end_offset("inbox", 0) == 0
    log.close()


def test_a_record_that_was_given_up_is_not_written_later(make_world, tmp_path, wait_for):
    port = servers.free_port()
    data = tmp_path / "kafka"
    launch = kafka.prepare(data, port, servers.free_port(taken=[port]))
    servers.start(launch, with_parent=True)
    try:
        world = make_world(launch.address)
        world.topic("inbox", 1)
        log, told = world.log(), []
        producer = log.producer("impatient", patience_seconds=2.0)

        def send(text: str) -> None:
            message = InboxMessage(definition_published=DefinitionPublished(dag_id=text))
            producer.send(Outgoing("inbox", text, message, 0), lambda error, offset: told.append((text, error)))

        send("before")
        wait_for(lambda: told == [("before", None)], 30)
        servers.stop(data, grace_seconds=0)
        send("given up")
        wait_for(lambda: len(told) == 2, 30)
        assert isinstance(told[1][1], Transient)
        servers.start(launch, with_parent=True)
        send("after")
        wait_for(lambda: len(told) == 3, 60)
        assert [(text, type(error)) for text, error in told] == [
            ("before", type(None)),
            ("given up", Transient),
            ("after", type(None)),
        ]
        assert [record.key for record in log.read_all("inbox", 0)] == ["before", "after"]
    finally:
        servers.stop(data, grace_seconds=0)


def test_a_process_paused_beyond_its_session_can_write_nothing_and_comes_back(make_rig, wait_for):
    rig = make_rig(2)
    sleeper = rig.start("sleeper")
    rig.send("a", partition=0)
    rig.send("b", partition=1)
    wait_for(rig.done, 30)
    rig.send("pause", "c", partition=0)
    wait_for(lambda: _stopped(sleeper), 30)
    other = rig.start("other")
    rig.send("d", partition=1)
    wait_for(rig.done, 60)  # the other owns both now, and has decided "pause" too
    assert rig.by(0) == ["sleeper", "other", "other"]
    os.kill(sleeper.pid, signal.SIGCONT)
    # The sleeper's transaction with "pause" is refused; it takes over what the other leaves.
    wait_for(lambda: "dropped inbox" in rig.logs(), 30)
    other.terminate()
    assert other.wait(15) == 0
    rig.send("e", partition=0)
    rig.send("f", partition=1)
    wait_for(rig.done, 60)
    assert rig.by(0)[-1] == rig.by(1)[-1] == "sleeper"
    rig.check_exactly_once()


def test_a_forced_second_owner_fences_the_loop_which_takes_its_partition_back(kafka_world, wait_for):
    log = kafka_world.log()
    inbox, events = kafka_world.topic("inbox"), kafka_world.topic("events")
    restored: list[int] = []

    class Echo:
        def restore(self) -> None:
            restored.append(sum(1 for _ in log.read_all(events, 0)))

        def handle(self, records, now):
            return [Outgoing(events, record.key, record.decode(InboxMessage), 0) for record in records]

        def committed(self, offsets) -> None:
            pass

        def next_due(self):
            return None

    loop = PartitionLoop(
        log,
        group_id="g",
        input_topics=[inbox],
        transactional_id_for=lambda topic, partition: "owner",
        machine_factory=lambda topic, partition: Echo(),
        decode=InboxMessage,
        retry_seconds=0.05,
    )
    failures: list[BaseException] = []
    loop.start(failures.append)
    producer = log.producer("p")

    def send(text: str) -> None:
        producer.send(Outgoing(inbox, text, InboxMessage(), 0))
        producer.flush()

    def keys() -> list[str]:
        return [record.key for record in log.read_all(events, 0)]

    send("a")
    wait_for(lambda: keys() == ["a"])
    intruder = log.transactional_producer("owner")
    intruder.commit([Outgoing(events, "intruder", InboxMessage(), 0)])
    send("b")
    wait_for(lambda: keys() == ["a", "intruder", "b"])
    assert restored == [0, 2]
    loop.close()
    assert failures == []
    assert loop.status() == []


def test_a_bug_ends_the_loop_with_its_exception(kafka_world, wait_for):
    log = kafka_world.log()
    inbox = kafka_world.topic("inbox")

    class Broken:
        def restore(self) -> None:
            pass

        def handle(self, records, now):
            raise ZeroDivisionError("a bug")

        def committed(self, offsets) -> None:
            raise AssertionError("nothing was committed")

        def next_due(self):
            return None

    loop = PartitionLoop(
        log,
        group_id="g",
        input_topics=[inbox],
        transactional_id_for=lambda topic, partition: "owner",
        machine_factory=lambda topic, partition: Broken(),
    )
    failed = threading.Event()
    seen: list[BaseException] = []
    loop.start(lambda failure: (seen.append(failure), failed.set()))
    producer = log.producer("p")
    producer.send(Outgoing(inbox, "a", InboxMessage(), 0))
    assert failed.wait(20)
    assert Counter(type(failure) for failure in seen) == {ZeroDivisionError: 1}
    assert log.committed_offset("g", inbox, 0) is None


def _stopped(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
