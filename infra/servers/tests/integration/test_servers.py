"""The real servers behind the fixtures do what the rest of the project needs of them."""

from __future__ import annotations

import json
import urllib.request
import uuid
from pathlib import Path

import boto3
import pymysql
import pytest
from botocore.client import Config
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from spinner_servers import kafka, process
from spinner_servers.process import free_port


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)


def test_kafka_keeps_transactions_and_groups(kafka_bootstrap: str) -> None:
    topic = f"servers-{uuid.uuid4().hex[:8]}"
    create_topic(kafka_bootstrap, topic)
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for value, end in [(b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)]:
        producer.begin_transaction()
        producer.produce(topic, value)
        end(30)
    consumer = Consumer(
        {
            "bootstrap.servers": kafka_bootstrap,
            "group.id": topic,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"committed"


def test_kafka_keeps_what_it_acknowledged_over_a_kill(tmp_path: Path) -> None:
    port = free_port()
    launch = kafka.prepare(tmp_path, port, free_port(taken=[port]))
    broker = process.start(launch, with_parent=True)
    try:
        create_topic(launch.address, "kept")
        producer = Producer({"bootstrap.servers": launch.address, "enable.idempotence": True})
        producer.produce("kept", b"before the kill")
        assert producer.flush(30) == 0
        broker.kill()
        broker.wait(10)
        process.start(kafka.prepare(tmp_path, port, free_port(taken=[port])), with_parent=True)
        producer.produce("kept", b"after the kill")
        assert producer.flush(60) == 0
        consumer = Consumer({"bootstrap.servers": launch.address, "group.id": "g", "auto.offset.reset": "earliest"})
        consumer.subscribe(["kept"])
        values = [message.value() for message in consumer.consume(2, 60)]
        consumer.close()
    finally:
        process.stop(tmp_path, grace_seconds=0)
    assert values == [b"before the kill", b"after the kill"]


def test_mariadb_gives_an_empty_database(mariadb_url: str) -> None:
    account, _, rest = mariadb_url.removeprefix("mysql+pymysql://").partition("@")
    address, _, name = rest.partition("/")
    host, port = address.split(":")
    user, password = account.split(":")
    with pymysql.connect(
        host=host, port=int(port), user=user, password=password, database=name.partition("?")[0]
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW TABLES")
        assert cursor.fetchall() == ()
        cursor.execute("CREATE TABLE t (a INT PRIMARY KEY, b JSON)")
        cursor.execute("INSERT INTO t VALUES (1, '{\"x\": [1, 2]}') RETURNING JSON_VALUE(b, '$.x[1]')")
        assert cursor.fetchall() == (("2",),)


def test_elasticsearch_finds_words(elasticsearch_url: str) -> None:
    index = f"servers-{uuid.uuid4().hex[:8]}"
    _call(f"{elasticsearch_url}/{index}/_doc?refresh=true", {"line": "Connection refused by the broker"})
    answer = _call(f"{elasticsearch_url}/{index}/_search", {"query": {"match": {"line": "refused"}}})
    assert answer["hits"]["total"]["value"] == 1


def test_s3_lets_exactly_one_writer_create_an_object(s3_endpoint: dict[str, str]) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint["url"],
        aws_access_key_id=s3_endpoint["access_key"],
        aws_secret_access_key=s3_endpoint["secret_key"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4"),
    )
    bucket = f"servers-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="lock", Body=b"first", IfNoneMatch="*")
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="lock", Body=b"second", IfNoneMatch="*")
    assert client.get_object(Bucket=bucket, Key="lock")["Body"].read() == b"first"


def _call(url: str, body: dict[str, object]) -> dict[str, dict[str, dict[str, int]]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))
