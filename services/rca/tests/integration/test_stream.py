"""Failed tries get their diagnosis, on real Kafka, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from spinner_eventlog.interface import Outgoing
from spinner_objectstore import open_store
from spinner_proto.diagnoses.v1 import diagnoses_pb2

LOG = """[2026-11-27T08:00:00.000Z] {ParseStage} INFO a: loaded
[2026-11-27T08:00:01.000Z] {TaskExecStage} INFO a: begin
Traceback (most recent call last):
  File "x.py", line 1, in f
FileNotFoundError: [Errno 2] No such file or directory: '/data/in.csv'
"""


class Service:
    """The service as a process."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.status = folder / "status.json"
        self.environment = {
            **os.environ,
            "SPINNER_KAFKA": bootstrap,
            "SPINNER_TOPIC_PREFIX": prefix,
            "SPINNER_OBJECT_STORE": f"file://{folder}/objects",
            "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
            "SPINNER_STATUS_FILE": str(self.status),
        }
        self.output = folder / "rca.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.status.unlink(missing_ok=True)
        with self.output.open("ab") as output:
            command = [sys.executable, "-m", "spinner_rca"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        wait_for(lambda: self.status.exists() and '"ready"' in self.status.read_text(), "the service is ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def diagnoses(log: Any) -> dict[str, diagnoses_pb2.FailureDiagnosis]:
    found = log.read_compacted("failure_diagnoses", 0)
    return {key: record.decode(diagnoses_pb2.FailureDiagnosis) for key, record in found.items()}


@pytest.fixture
def service(kafka_bootstrap: str, prefix: str, log: Any, tmp_path: Path) -> Iterator[Service]:
    service = Service(kafka_bootstrap, prefix, tmp_path)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.process.kill()
        service.process.wait()


def write(log: Any, *executions: Any) -> None:
    producer = log.producer("test")
    for execution in executions:
        producer.send(Outgoing("workflow_job_executions", execution.workflow_name, execution))
    producer.flush()


def test_failed_tries_are_diagnosed_from_their_logs(
    log: Any, service: Service, make_execution: Any, tmp_path: Path
) -> None:
    open_store(f"file://{tmp_path}/objects").put("logs/etl/r1/load/-1/1.log", LOG.encode())
    service.start()
    write(
        log,
        make_execution(1, "up_for_retry", log_key="logs/etl/r1/load/-1/1.log"),
        make_execution(2, "failed", log_key="logs/gone.log", exception_classes=["KeyError"]),
        make_execution(3, "success"),
    )
    found = wait_for(lambda: len(d := diagnoses(log)) == 2 and d, "two diagnoses")
    first = found["etl/r1/load/-1/1"]
    assert (first.category, first.owner, first.evidence[0].line) == ("missing_file", "user", 5)
    assert first.how_to_fix
    assert found["etl/r1/load/-1/2"].category == "key_error"
    assert service.stop() == 0


def test_aborted_and_unreadable_records_give_no_diagnosis(
    log: Any, kafka_bootstrap: str, prefix: str, service: Service, make_execution: Any
) -> None:
    from confluent_kafka import Producer

    topic = prefix + "workflow_job_executions"
    raw = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": prefix + "raw"})
    raw.init_transactions()
    raw.begin_transaction()
    raw.produce(topic, key="etl", value=make_execution(7).SerializeToString(), partition=0)
    raw.flush()
    raw.abort_transaction()
    raw.begin_transaction()
    raw.produce(topic, key="etl", value=b"\xff\xff not a record", partition=0)
    raw.produce(topic, key="etl", value=make_execution(8).SerializeToString(), partition=0)
    raw.commit_transaction()
    service.start()
    found = wait_for(lambda: diagnoses(log), "a diagnosis")
    assert set(found) == {"etl/r1/load/-1/8"}
    letters = list(log.read_all("dead_letters", 0))
    assert [(letter.value, letter.headers["origin-topic"]) for letter in letters] == [
        (b"\xff\xff not a record", "workflow_job_executions")
    ]


def test_a_killed_process_goes_on_where_it_was(log: Any, service: Service, make_execution: Any) -> None:
    total = 400
    service.start()
    write(log, *(make_execution(n, message="KeyError: 'x'") for n in range(1, total + 1)))
    wait_for(lambda: len(diagnoses(log)) > 20, "some diagnoses")
    service.kill()
    assert len(diagnoses(log)) < total
    service.start()
    wait_for(lambda: len(diagnoses(log)) == total, "all diagnoses", 60)
