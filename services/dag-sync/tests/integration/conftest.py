"""A real dag-sync process over a real Kafka, and what the log says afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import grpc
import pytest
from spinner_eventlog.interface import Record
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_proto.dagsync.v1 import dagsync_pb2 as sync_pb
from spinner_proto.dagsync.v1 import dagsync_pb2_grpc as sync_grpc
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.inbox.v1 import inbox_pb2

DAG = """
from datetime import datetime
from spinner.core.dag import DAG
from spinner.operators.empty import EmptyOperator
{extra}
with DAG("{name}", schedule="@daily", start_date=datetime(2026, 1, 1), tier={tier},
         access_control={{"team": {{"can_dag_read"}}}}, owner="team", description="{note}") as dag:
    EmptyOperator(task_id="one") >> EmptyOperator(task_id="two")
"""


def dag(name: str, tier: int = 1, note: str = "", extra: str = "") -> str:
    return DAG.format(name=name, tier=tier, note=note, extra=extra)


def until(condition, what: str, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class DagSync:
    """The service and its surroundings. `start` and `kill` may alternate."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.folder, self.kafka = folder, kafka
        self.prefix = f"t{uuid.uuid4().hex[:8]}-"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        self.log = KafkaLog(kafka, "test", self.prefix)
        create_topics(kafka, tiers=(1, 2), partitions={"scheduler_inbox": 4}, prefix=self.prefix)
        inboxes = ("scheduler_inbox-spinner_tier_1", "scheduler_inbox-spinner_tier_2")
        topics = ("workflow_definitions", "workflow_parse_errors", "parse_error_history", *inboxes)
        self.reader = self.log.reader([(name, p) for name in topics for p in range(self.log.partition_count(name))])
        self.seen: dict[str, list[Record]] = {name: [] for name in topics}

    def bundles(self, *entries: dict) -> None:
        (self.folder / "bundles.yaml").write_text(json.dumps({"bundles": list(entries)}))

    def start(self) -> None:
        (self.folder / "status.json").unlink(missing_ok=True)
        settings = {
            "SPINNER_KAFKA": self.kafka,
            "SPINNER_TOPIC_PREFIX": self.prefix,
            "SPINNER_BUNDLES": str(self.folder / "bundles.yaml"),
            "SPINNER_OBJECT_STORE": f"file://{self.folder}/objects",
            "SPINNER_STATUS_FILE": str(self.folder / "status.json"),
            "SPINNER_LOG_FORMAT": "console",
        }
        self.output = (self.folder / "log.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spinner_dag_sync"],
            env={**os.environ, **settings, **self.environment},
            stdout=self.output,
            stderr=self.output,
        )
        until(lambda: self.status().get("state") == "ready", "dag-sync is ready")

    def status(self) -> dict:
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        path = self.folder / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.output.close()
        return code

    def stub(self):
        return sync_grpc.DagSyncServiceStub(grpc.insecure_channel(self.status()["grpc"]))

    def sync(self, name: str):
        return self.stub().SyncBundle(sync_pb.SyncBundleRequest(name=name), timeout=30).bundle

    def records(self, topic: str) -> list[Record]:
        """Every record of a topic up to now, oldest first within a partition."""
        while self._poll() or not self.reader.at_end():
            pass
        return self.seen[topic]

    def _poll(self) -> bool:
        found = self.reader.poll(timeout_seconds=0.02)
        for record in found:
            self.seen[record.topic].append(record)
        return bool(found)

    def definition_records(self) -> list[Record]:
        return self.records("workflow_definitions")

    def definitions(self) -> list[pb.DagDefinition]:
        """Every definition record, oldest first."""
        ordered = sorted(self.definition_records(), key=lambda record: record.time_ms)
        return [record.decode(pb.DagDefinition) for record in ordered]

    def inbox(self, tier: int = 1) -> list[tuple[int, str, str | None]]:
        """Every announcement of a cell: (partition, dag id, version or None)."""
        found = []
        for record in self.records(f"scheduler_inbox-spinner_tier_{tier}"):
            message = record.decode(inbox_pb2.InboxMessage)
            if message.WhichOneof("kind") == "definition_published":
                published = message.definition_published
                found.append((record.partition, published.dag_id, published.version))
            elif message.WhichOneof("kind") == "definition_removed":
                found.append((record.partition, message.definition_removed.dag_id, None))
        return found

    def timetables(self, tier: int = 1) -> list[inbox_pb2.TimetableEvaluated]:
        """What custom timetables answered, as the schedulers of a cell are told."""
        messages = (
            record.decode(inbox_pb2.InboxMessage) for record in self.records(f"scheduler_inbox-spinner_tier_{tier}")
        )
        return [m.timetable_evaluated for m in messages if m.WhichOneof("kind") == "timetable_evaluated"]

    def current(self, tier: int = 1) -> dict[str, str]:
        """DAGs as a scheduler sees them: id → version."""
        found: dict[str, str] = {}
        for _, dag_id, version in self.inbox(tier):
            if version is None:
                found.pop(dag_id, None)
            else:
                found[dag_id] = version
        return found

    def errors(self) -> dict[str, pb.ParseError]:
        latest = {record.key: record for record in self.records("workflow_parse_errors")}
        return {key: record.decode(pb.ParseError) for key, record in latest.items() if record.value is not None}

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()


@pytest.fixture
def sync(kafka_bootstrap, tmp_path):
    service = DagSync(kafka_bootstrap, tmp_path)
    yield service
    service.close()


@pytest.fixture
def tools():
    """Helpers for tests, which can't import this file."""

    class Tools:
        dag = staticmethod(dag)
        until = staticmethod(until)

    return Tools
