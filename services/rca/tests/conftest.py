"""A real log with topics of its own, and records of finished tries."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from spinner_proto.common.v1 import common_pb2
from spinner_proto.executions.v1 import executions_pb2


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def log(kafka_bootstrap: str, prefix: str) -> Iterator[Any]:
    from spinner_eventlog.kafka import KafkaLog
    from spinner_eventlog.topics import create_topics

    create_topics(kafka_bootstrap, tiers=(1,), prefix=prefix)
    log = KafkaLog(kafka_bootstrap, "test", prefix=prefix)
    yield log
    log.close()


def execution(number: int, status: str = "failed", **facts: Any) -> executions_pb2.JobExecutionRecord:
    """A finished try of dag/run/task."""
    return executions_pb2.JobExecutionRecord(
        workflow_name="etl",
        instance_id="r1",
        job_name="load",
        map_index=-1,
        try_number=number,
        status=status,
        outcome=common_pb2.OUTCOME_FAILED if status != "success" else common_pb2.OUTCOME_SUCCESS,
        failed_stage=common_pb2.STAGE_TASK_EXEC if status != "success" else common_pb2.STAGE_UNSPECIFIED,
        **facts,
    )


@pytest.fixture
def make_execution() -> Any:
    return execution
