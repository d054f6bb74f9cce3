"""Watchers of assets on real Kafka and S3: each event of the source is counted once, whoever is killed (B8)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from moto.server import ThreadedMotoServer
from owner import Owner, triggerers
from spinner.triggers import BaseEventTrigger
from spinner.triggers.kafka import KafkaMessageQueueTrigger
from spinner.triggers.message_queue import MessageQueueTrigger
from spinner.triggers.s3 import S3KeyTrigger
from spinner_proto.events.v1.events_pb2 import WatcherState
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, WatcherReported
from stage import Stage, until

MINE = """
import asyncio
from pathlib import Path
from spinner.triggers import BaseEventTrigger, TriggerEvent, WatchedEvent

class Counts(BaseEventTrigger):
    "Fires numbers, as many as a file says; raises when it says so."
    def __init__(self, path):
        self.path = path
    def serialize(self):
        return "mine.Counts", {"path": self.path}
    async def run(self):
        number = int(self.cursor or 0)
        while True:
            said = Path(self.path).read_text()
            if said == "fail":
                raise RuntimeError("told to fail")
            while number < int(said):
                number += 1
                yield WatchedEvent(number, event_id=str(number), cursor=str(number), partition_key=f"p{number % 2}")
            await asyncio.sleep(0.05)

def double(message, by):
    number = int(message.value())
    return None if number % 2 else number * by
"""


class Counts(BaseEventTrigger):
    """What a DAG file says of the trigger in MINE."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "mine.Counts", {"path": str(self.path)}


@pytest.fixture
def owner(stage: Stage) -> Owner:
    return Owner(stage)


@pytest.fixture
def topic(kafka_bootstrap: str) -> Iterator[str]:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    name = f"watched-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


class Messages:
    """Numbers, written to a topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap})
        self._topic = topic
        self.sent = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            self._producer.produce(self._topic, str(self.sent).encode(), partition=self.sent % 2)
            self.sent += 1
        assert self._producer.flush(30) == 0


def kill_triggerers(executor_pid: int) -> None:
    for process in until(lambda: triggerers(executor_pid), "a triggerer", 60):  # type: ignore[attr-defined]
        process.kill()


def test_each_message_of_kafka_counts_once_although_triggerer_and_executor_are_killed(
    stage: Stage, owner: Owner, topic: str, kafka_bootstrap: str
) -> None:
    messages = Messages(kafka_bootstrap, topic)
    messages.send(3)
    owner.watch(MessageQueueTrigger(queue=f"kafka://{kafka_bootstrap}/{topic}", poll_interval=0.05))
    executor = stage.executor()
    owner.until(lambda: owner.orders and owner.cursor(), "the watcher has a place")
    first = messages.sent
    for _ in range(2):
        messages.send(40)
        kill_triggerers(executor.pid)
        messages.send(40)
        owner.until(lambda: len(owner.counted) >= messages.sent - first - 60, "most are counted")
    executor.kill()
    executor.wait()
    messages.send(700)
    stage.executor()
    owner.until(lambda: len(owner.counted) >= messages.sent - first, "all are counted")
    messages.send(1)
    owner.until(lambda: len(owner.counted) >= messages.sent - first, "the last is counted")
    assert sorted(int(one["value"]) for one in owner.counted) == list(range(first, messages.sent))  # type: ignore[index]
    assert set(owner.ids.values()) == {1}
    assert json.loads(owner.cursor()) == {topic: {"0": messages.sent // 2, "1": messages.sent // 2}}


def test_a_watcher_whose_first_place_nobody_has_taken_yet_keeps_it(
    stage: Stage, owner: Owner, topic: str, kafka_bootstrap: str
) -> None:
    messages = Messages(kafka_bootstrap, topic)
    trigger = KafkaMessageQueueTrigger([topic], config={"bootstrap.servers": kafka_bootstrap}, poll_interval=0.05)
    owner.watch(trigger)
    executor = stage.executor()
    early: list[InboxMessage] = []

    def told() -> list[WatcherReported]:
        early.extend(record.decode(InboxMessage) for record in stage.reader.poll(1000, 0.05))
        return [message.task_report.watcher_reported for message in early]

    until(lambda: any(one.events for one in told()), "the trigger has told its place", 60)
    before = len(early)
    messages.send(2)
    kill_triggerers(executor.pid)
    until(lambda: len(told()) > before, "it was started again", 60)
    owner.take(*early)
    owner.until(lambda: len(owner.counted) == 2, "what came meanwhile is counted")


def test_a_watcher_stops_with_its_dag_and_goes_on_where_it_was(
    stage: Stage, owner: Owner, topic: str, kafka_bootstrap: str
) -> None:
    messages = Messages(kafka_bootstrap, topic)
    trigger = KafkaMessageQueueTrigger([topic], config={"bootstrap.servers": kafka_bootstrap}, poll_interval=0.05)
    owner.watch(trigger)
    executor = stage.executor()
    owner.until(lambda: owner.cursor(), "the watcher has a place")
    messages.send(2)
    owner.until(lambda: len(owner.counted) == 2, "both are counted")
    owner.pause(True)
    assert owner.orders == {}
    until(lambda: not _watching(executor.pid), "nobody listens", 60)
    messages.send(2)
    owner.pause(False)
    owner.until(lambda: len(owner.counted) == 4, "what came meanwhile is counted")


def _watching(pid: int) -> bool:
    return any(connection.raddr for process in triggerers(pid) for connection in process.net_connections("tcp"))


def test_a_function_of_the_bundle_makes_payloads_and_drops_messages(
    stage: Stage, owner: Owner, topic: str, kafka_bootstrap: str
) -> None:
    messages = Messages(kafka_bootstrap, topic)
    trigger = KafkaMessageQueueTrigger(
        [topic],
        apply_function="mine.double",
        apply_function_args=[10],
        config={"bootstrap.servers": kafka_bootstrap},
        poll_interval=0.05,
    )
    owner.watch(trigger, bundle=stage.bundle(mine=MINE))
    stage.executor()
    owner.until(lambda: owner.cursor(), "the watcher has a place")
    messages.send(6)
    owner.until(lambda: json.loads(owner.cursor()) == {topic: {"0": 3, "1": 3}}, "all were looked at")
    assert sorted(owner.counted) == [0, 20, 40]  # type: ignore[type-var]


def test_a_trigger_of_ones_own_that_fails_is_told_and_goes_on(stage: Stage, owner: Owner) -> None:
    path = stage.folder / "number"
    path.write_text("2")

    owner.watch(Counts(path), bundle=stage.bundle(mine=MINE))
    stage.executor()
    owner.until(lambda: owner.counted == [1, 2], "both are counted")
    path.write_text("fail")
    owner.until(lambda: any("told to fail" in told.error for told in owner.states), "the failure is told")
    mark = len(owner.states)
    path.write_text("1500")
    owner.until(lambda: len(owner.counted) >= 1500, "all are counted")
    assert owner.counted == list(range(1, 1501))
    assert owner.states[-1].state == WatcherState.WATCHER_STATE_RUNNING
    assert owner.runs(mark)


def test_an_executor_is_never_far_ahead_of_the_scheduler(stage: Stage, owner: Owner) -> None:
    path = stage.folder / "number"
    path.write_text("5000")

    owner.watch(Counts(path), bundle=stage.bundle(mine=MINE))
    executor = stage.executor()

    def reported() -> int:
        return sum(len(report.watcher_reported.events) for report in stage.poll())

    until(lambda: reported() >= 500, "it is as far ahead as it may be", 60)
    # Its next life may not add to what nobody has taken.
    before = len(stage.reports)
    kill_triggerers(executor.pid)
    until(lambda: len(stage.poll()) > before, "it was started again", 60)
    assert reported() == 500


def test_each_object_in_s3_counts_once_although_the_triggerer_is_killed(
    stage: Stage, owner: Owner, s3_endpoint: dict[str, str]
) -> None:
    options = {
        "endpoint_url": s3_endpoint["url"],
        "aws_access_key_id": s3_endpoint["access_key"],
        "aws_secret_access_key": s3_endpoint["secret_key"],
        "region_name": "us-east-1",
    }
    client = boto3.client("s3", **options)
    bucket = f"watched-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="in/old.csv", Body=b"old")
    trigger = S3KeyTrigger(bucket, "in/*.csv", True, poke_interval=0.1, aws_conn_id=None, client_options=options)
    owner.watch(trigger)
    executor = stage.executor()
    owner.until(lambda: owner.cursor(), "the watcher has a place")
    names = []
    for turn in range(2):
        for number in range(8):
            names.append(f"in/{turn}-{number}.csv")
            client.put_object(Bucket=bucket, Key=names[-1], Body=names[-1].encode())
            if number == 4:
                kill_triggerers(executor.pid)
        client.put_object(Bucket=bucket, Key=f"out/{turn}.csv", Body=b"elsewhere")
        owner.until(lambda: len(owner.counted) >= len(names) - 3, "most are counted")
    owner.until(lambda: len(owner.counted) >= len(names), "all are counted")
    client.put_object(Bucket=bucket, Key=names[0], Body=b"again")
    owner.until(lambda: len(owner.counted) >= len(names) + 1, "what is written again counts again")
    assert sorted(one["key"] for one in owner.counted) == sorted([*names, names[0]])  # type: ignore[index]
    assert set(owner.ids.values()) == {1}


@pytest.fixture
def queue() -> Iterator[tuple[Any, str, dict[str, str]]]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "endpoint_url": f"http://{host}:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
    }
    client = boto3.client("sqs", **options)
    url = client.create_queue(QueueName="notices", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    yield client, url, options
    server.stop()


def test_a_message_of_sqs_is_deleted_when_it_is_counted_and_s3_records_are_told_one_by_one(
    stage: Stage, owner: Owner, queue: tuple[Any, str, dict[str, str]]
) -> None:
    client, url, options = queue
    records = [
        {"s3": {"bucket": {"name": "b"}, "object": {"key": f"in/a+{number}", "sequencer": f"0{number}"}}}
        for number in range(2)
    ]
    for _ in range(2):
        # S3 may notify twice.
        client.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": records}))
    client.send_message(QueueUrl=url, MessageBody="hello")
    trigger = MessageQueueTrigger(
        scheme="sqs", sqs_queue=url, aws_conn_id=None, wait_time_seconds=1, client_options=options
    )
    owner.watch(trigger)
    stage.executor()
    owner.until(lambda: len(owner.counted) == 3, "all are counted")

    def left() -> int:
        said = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(said["ApproximateNumberOfMessages"]) + int(said["ApproximateNumberOfMessagesNotVisible"])

    owner.until(lambda: left() == 0, "the queue is empty")
    keys = sorted(one["s3"]["object"]["key"] for one in owner.counted if "s3" in one)  # type: ignore[operator, index]
    assert keys == ["in/a 0", "in/a 1"]
    assert [one["Body"] for one in owner.counted if "Body" in one] == ["hello"]  # type: ignore[operator, index]
