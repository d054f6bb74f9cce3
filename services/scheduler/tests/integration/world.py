"""Scheduler processes over real Kafka, and a scripted executor in the test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from spinner_eventlog.interface import Outgoing, Record, Transient
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_proto.common.v1.common_pb2 import Outcome, RunState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvent, WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import (
    Command,
    DefinitionPublished,
    InboxMessage,
    TaskEnded,
    TaskReport,
    TaskStarted,
    TriggerRun,
)
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

INBOX = "scheduler_inbox-spinner_tier_1"
EVENTS = "workflow_events-spinner_tier_1"
ORDERS = "task_orders-spinner"
SECONDS = 40.0


class World:
    """One installation under a topic prefix of its own: processes, and an executor that the test drives."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap, self.folder = bootstrap, folder
        self.prefix = f"s{uuid.uuid4().hex[:8]}-"
        create_topics(bootstrap, ["spinner"], [1], prefix=self.prefix)
        self.log = KafkaLog(bootstrap, "test", self.prefix)
        self.producer = self.log.producer("test")
        self.orders = self.log.reader([(ORDERS, 0), (ORDERS, 1)])
        self.processes: list[subprocess.Popen[bytes]] = []
        self.runs_of: Counter[str] = Counter()

    def start_scheduler(self, number: int) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "SPINNER_KAFKA": self.bootstrap,
            "SPINNER_TOPIC_PREFIX": self.prefix,
            "SPINNER_TIERS": "1",
            "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
            "SPINNER_STATUS_FILE": str(self.folder / f"status-{number}.json"),
            "SPINNER_SNAPSHOT_SECONDS": "0.2",
        }
        log = (self.folder / f"scheduler-{number}.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "spinner_scheduler"], env=env, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def publish(self, definition: DagDefinition) -> None:
        key = f"{definition.dag_id}@{definition.version}"
        self.producer.send(Outgoing("workflow_definitions", key, definition))
        self.producer.flush()
        published = DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
        self.send(definition.dag_id, InboxMessage(definition_published=published))

    def send(self, dag_id: str, message: InboxMessage) -> None:
        self.producer.send(Outgoing(INBOX, dag_id, message, 0))
        self.producer.flush()

    def trigger(self, dag_id: str, run_id: str) -> None:
        command = Command(request_id=str(uuid.uuid4()), dag_id=dag_id, trigger_run=TriggerRun(run_id=run_id))
        command.time.FromDatetime(datetime.now(UTC))
        self.send(dag_id, InboxMessage(command=command))

    def work(self, limit: int = 500) -> int:
        """Plays executor for a moment: answers at most `limit` new orders, each with started and ended."""
        answered = 0
        for record in self.orders.poll(limit, 0.05):
            if record.value is None:
                continue
            order = record.decode(TaskOrder)
            self.runs_of[record.key] += 1
            self._answer(order)
            answered += 1
        self.producer.flush()
        return answered

    def _answer(self, order: TaskOrder) -> None:
        now = datetime.now(UTC)
        for sequence in (2, 3):
            report = TaskReport(
                try_key=order.try_key, segment=order.segment, sequence=sequence, executor="127.0.0.1:1", worker="w"
            )
            report.time.FromDatetime(now)
            if sequence == 2:
                report.started.CopyFrom(TaskStarted())
            else:
                report.ended.CopyFrom(TaskEnded(outcome=Outcome.OUTCOME_SUCCESS, return_length=-1))
                report.ended.start_time.FromDatetime(now)
                report.ended.end_time.FromDatetime(now)
            message = InboxMessage(task_report=report)
            self.producer.send(Outgoing(order.reply_topic, order.try_key.dag_id, message, order.reply_partition))

    def events(self) -> list[tuple[str, str, WorkflowEvent]]:
        return [
            (decoded.dag_id, decoded.run_id, event)
            for record in self.log.read_all(EVENTS, 0)
            for decoded in [record.decode(WorkflowEvents)]
            for event in decoded.events
        ]

    def ended_runs(self) -> dict[str, int]:
        return {
            run_id: event.run_state_changed.state
            for _, run_id, event in self.events()
            if event.WhichOneof("kind") == "run_state_changed"
            and event.run_state_changed.state in (RunState.RUN_STATE_SUCCESS, RunState.RUN_STATE_FAILED)
        }

    def executions(self) -> list[JobExecutionRecord]:
        topic = "workflow_job_executions"
        records: list[Record] = []
        for partition in range(self.log.partition_count(topic)):
            records.extend(self.log.read_all(topic, partition))
        return [record.decode(JobExecutionRecord) for record in records]

    def work_until_ended(self, runs: set[str]) -> dict[str, int]:
        deadline = time.monotonic() + SECONDS
        looked_at = 0.0
        while time.monotonic() < deadline:
            self.work()
            if time.monotonic() - looked_at > 0.3:
                looked_at = time.monotonic()
                with contextlib.suppress(Transient):
                    ended = self.ended_runs()
                    if runs <= set(ended):
                        return ended
        raise AssertionError(f"runs {runs - set(self.ended_runs())} did not end: {self.logs()}")

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes:
            process.wait(20)
        self.log.close()


def diamond(dag_id: str, width: int = 2) -> DagDefinition:
    definition = DagDefinition(dag_id=dag_id, version="v1", max_active_tasks=100)
    definition.schedule.none.SetInParent()
    definition.placement.cluster, definition.placement.tier = "spinner", 1
    definition.tasks.add(task_id="first")
    for number in range(width):
        definition.tasks.add(task_id=f"middle_{number}", upstream=[0])
    definition.tasks.add(task_id="last", upstream=list(range(1, width + 1)))
    return definition
