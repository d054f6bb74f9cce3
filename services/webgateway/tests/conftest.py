"""Events written by hand, and a gateway over a real log."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_objectstore import ObjectStore, open_store
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.events.v1 import events_pb2

BEGIN = datetime(2026, 11, 27, 8, tzinfo=UTC)
CELL = "spinner_tier_1"


class Script:
    """Makes messages whose times go up by a second."""

    def __init__(self) -> None:
        self.now = BEGIN

    def tick(self) -> Timestamp:
        self.now += timedelta(seconds=1)
        result = Timestamp()
        result.FromDatetime(self.now)
        return result

    def definition(
        self, dag_id: str, tasks: int = 3, version: str = "v1", **facts: Any
    ) -> definitions_pb2.DagDefinition:
        """A chain of tasks t0 → t1 → …"""
        message = definitions_pb2.DagDefinition(
            dag_id=dag_id,
            version=version,
            placement=common_pb2.Placement(cluster="spinner", tier=1, partition=0),
            bundle=common_pb2.BundleRef(name="main", version="b1"),
            relative_path=f"dags/{dag_id}.py",
            owner="data",
            project="demo",
            tags=["etl", "daily"],
            description=f"What {dag_id} does",
            tier=1,
            source=common_pb2.Blob(inline=b"with DAG(): ..."),
            **facts,
        )
        message.parsed_time.CopyFrom(self.tick())
        message.schedule.cron.expressions.append("30 2 * * *")
        message.schedule.cron.timezone = "UTC"
        message.schedule.text = "30 2 * * *"
        for n in range(tasks):
            task = message.tasks.add(task_id=f"t{n}", operator="PythonOperator", pool="default_pool")
            if n:
                task.upstream.append(n - 1)
        return message

    def dag(self, dag_id: str, version: str = "v1", paused: bool = False) -> events_pb2.WorkflowEvents:
        event = events_pb2.WorkflowEvent(
            dag_updated=events_pb2.DagUpdated(
                version=version,
                paused=paused,
                placement=common_pb2.Placement(cluster="spinner", tier=1, partition=0),
            )
        )
        return self.record(dag_id, "", event)

    def record(self, dag_id: str, run_id: str, *events: events_pb2.WorkflowEvent) -> events_pb2.WorkflowEvents:
        return events_pb2.WorkflowEvents(dag_id=dag_id, run_id=run_id, time=self.tick(), events=events)

    def created(self, dag_id: str, run_id: str, tasks: int = 3, version: str = "v1") -> events_pb2.WorkflowEvents:
        at = self.tick()
        event = events_pb2.RunCreated(
            run_type=common_pb2.RUN_TYPE_MANUAL,
            logical_date=at,
            run_after=at,
            version=version,
            task_count=tasks,
            conf=common_pb2.Blob(inline=b'{"full":true}'),
            actor=common_pb2.Actor(name="user:alice", via="ui"),
        )
        return self.record(dag_id, run_id, events_pb2.WorkflowEvent(run_created=event))

    def run_state(self, dag_id: str, run_id: str, state: str) -> events_pb2.WorkflowEvents:
        event = events_pb2.RunStateChanged(state=common_pb2.RunState.Value(f"RUN_STATE_{state.upper()}"))
        return self.record(dag_id, run_id, events_pb2.WorkflowEvent(run_state_changed=event))

    def task(self, dag_id: str, run_id: str, task_id: str, state: str, try_number: int = 1, **facts: Any) -> Any:
        event = events_pb2.TaskStateChanged(
            task_id=task_id,
            map_index=facts.pop("map_index", -1),
            state=common_pb2.TaskState.Value(f"TASK_STATE_{state.upper()}"),
            try_number=try_number,
            **facts,
        )
        return self.record(dag_id, run_id, events_pb2.WorkflowEvent(task_state_changed=event))

    def ended(self, dag_id: str, run_id: str, task_id: str, state: str, try_number: int = 1, **facts: Any) -> Any:
        outcome = "SUCCESS" if state == "success" else "FAILED"
        event = events_pb2.TaskEnded(
            task_id=task_id,
            map_index=facts.pop("map_index", -1),
            state=common_pb2.TaskState.Value(f"TASK_STATE_{state.upper()}"),
            try_number=try_number,
            outcome=common_pb2.Outcome.Value(f"OUTCOME_{outcome}"),
            end_time=self.tick(),
            **facts,
        )
        return self.record(dag_id, run_id, events_pb2.WorkflowEvent(task_ended=event))

    def whole_run(self, dag_id: str, run_id: str, tasks: int = 3) -> list[events_pb2.WorkflowEvents]:
        """Every record of a run in which all tasks succeed."""
        records = [self.created(dag_id, run_id, tasks), self.run_state(dag_id, run_id, "running")]
        for n in range(tasks):
            records.append(self.task(dag_id, run_id, f"t{n}", "queued"))
            records.append(self.task(dag_id, run_id, f"t{n}", "running", worker=f"w{n}"))
            records.append(self.ended(dag_id, run_id, f"t{n}", "success"))
        return [*records, self.run_state(dag_id, run_id, "success")]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def store(folder: Path) -> ObjectStore:
    return open_store(f"file://{folder}/objects")


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture(scope="module")
def log(kafka_bootstrap: str, prefix: str) -> Iterator[Any]:
    from spinner_eventlog.kafka import KafkaLog
    from spinner_eventlog.topics import create_topics

    create_topics(kafka_bootstrap, tiers=(1,), prefix=prefix)
    log = KafkaLog(kafka_bootstrap, "test", prefix=prefix)
    yield log
    log.close()
