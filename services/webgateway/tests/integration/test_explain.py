"""Why nothing is running, through the gateway, from a real scheduler over a real log (B6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from spinner_eventlog.interface import Outgoing
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.explain.v1.explain_pb2 import Subject
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_proto.orders.v1 import orders_pb2

INBOX = "scheduler_inbox-spinner_tier_1"
ORDERS = "task_orders-spinner"


class Stack:
    """The gateway's log with scheduler processes, and reports as executors write them."""

    def __init__(self, log: Any, bootstrap: str, prefix: str, folder: Path) -> None:
        self.log, self.bootstrap, self.prefix, self.folder = log, bootstrap, prefix, folder
        self.producer = log.producer("test")
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        env = {
            **os.environ,
            "SPINNER_KAFKA": self.bootstrap,
            "SPINNER_TOPIC_PREFIX": self.prefix,
            "SPINNER_TIERS": "1",
            "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
            "SPINNER_STATUS_FILE": str(self.folder / f"scheduler-{number}.json"),
        }
        out = (self.folder / f"scheduler-{number}.log").open("wb")
        process = subprocess.Popen([sys.executable, "-m", "spinner_scheduler"], env=env, stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def send(self, topic: str, key: str, message: Any) -> None:
        self.producer.send(Outgoing(topic, key, message, 0))
        self.producer.flush()

    def publish(self, definition: definitions_pb2.DagDefinition) -> None:
        key = f"{definition.dag_id}@{definition.version}"
        self.producer.send(Outgoing("workflow_definitions", key, definition))
        published = inbox_pb2.DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
        self.send(INBOX, definition.dag_id, inbox_pb2.InboxMessage(definition_published=published))

    def command(self, dag_id: str, **kind: Any) -> None:
        command = inbox_pb2.Command(request_id=str(uuid.uuid4()), dag_id=dag_id, **kind)
        command.actor.name = "user:alice"
        command.time.FromDatetime(datetime.now(UTC))
        self.send(INBOX, dag_id, inbox_pb2.InboxMessage(command=command))

    def report(self, dag_id: str, task_id: str, sequence: int, **kind: Any) -> None:
        """Says something of the task's only order."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for partition in range(self.log.partition_count(ORDERS)):
                for record in self.log.read_all(ORDERS, partition):
                    if record.value is None:
                        continue
                    order = record.decode(orders_pb2.TaskOrder)
                    if (order.try_key.dag_id, order.try_key.task_id) == (dag_id, task_id):
                        report = inbox_pb2.TaskReport(
                            try_key=order.try_key, sequence=sequence, executor="10.0.0.7:50052", worker="pod-1", **kind
                        )
                        report.time.FromDatetime(datetime.now(UTC))
                        self.send(INBOX, dag_id, inbox_pb2.InboxMessage(task_report=report))
                        return
            time.sleep(0.05)
        raise AssertionError(f"{dag_id}/{task_id} was not ordered")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def stack(log: Any, kafka_bootstrap: str, prefix: str, folder: Path) -> Iterator[Stack]:
    made = Stack(log, kafka_bootstrap, prefix, folder)
    made.start_scheduler()
    yield made
    made.stop()


def chain(dag_id: str, *task_ids: str, **facts: Any) -> definitions_pb2.DagDefinition:
    made = definitions_pb2.DagDefinition(dag_id=dag_id, version="v1", relative_path=f"dags/{dag_id}.py", **facts)
    made.bundle.name = "main"
    made.placement.cluster, made.placement.tier = "spinner", 1
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def codes(client: httpx.Client, where: str) -> dict[str, dict[str, Any]]:
    answer = client.get(where)
    if answer.status_code != 200:
        return {answer.json()["code"]: answer.json()}
    return {reason["code"]: reason for reason in answer.json()["reasons"]}


def expect(client: httpx.Client, where: str, *wanted: str, seconds: float = 20) -> dict[str, dict[str, Any]]:
    """The reasons, as soon as they are these."""
    deadline = time.monotonic() + seconds
    found: dict[str, dict[str, Any]] = {}
    while time.monotonic() < deadline:
        found = codes(client, where)
        if set(found) == set(wanted):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{where}: {found}, expected {wanted}")


def test_a_dag_a_run_and_a_task(stack: Stack, client: httpx.Client) -> None:
    stack.publish(chain("load", "a", "b"))
    expect(client, "/dags/load/explain", "NO_SCHEDULE")
    stack.command("load", set_paused={"paused": True})
    found = expect(client, "/dags/load/explain", "DAG_PAUSED", "NO_SCHEDULE")["DAG_PAUSED"]
    assert found["holders"][0] | {"since": None} == {
        "kind": "person",
        "name": "user:alice",
        "dag_id": "",
        "run_id": "",
        "task_id": "",
        "map_index": -1,
        "try_number": 0,
        "state": "",
        "since": None,
    }
    assert found["fix"] == "Unpause it: spinner dags unpause load"
    assert found["since"] is not None

    stack.command("load", trigger_run={"run_id": "one"})
    expect(client, "/dags/load/runs/one/explain", "DAG_PAUSED")
    stack.command("load", set_paused={"paused": False})
    found = expect(client, "/dags/load/runs/one/explain", "NO_EXECUTOR_ANSWER", "UPSTREAM_NOT_DONE")
    assert [party["task_id"] for party in found["UPSTREAM_NOT_DONE"]["waiting"]] == ["b"]
    assert [party["task_id"] for party in found["UPSTREAM_NOT_DONE"]["holders"]] == ["a"]


def test_what_the_executor_says_of_a_try(stack: Stack, client: httpx.Client) -> None:
    stack.publish(chain("slow", "a"))
    stack.command("slow", trigger_run={"run_id": "one"})
    where = "/dags/slow/runs/one/tasks/a/-1/explain"
    expect(client, where, "NO_EXECUTOR_ANSWER")
    stack.report("slow", "a", 1, pending={"reason": "0/3 nodes are available: insufficient memory"})
    found = expect(client, where, "EXECUTOR_PENDING")["EXECUTOR_PENDING"]
    assert "insufficient memory" in found["message"]
    stack.report("slow", "a", 3, started={})
    expect(client, where, "RUNNING")
    # The view of the executor may be a moment behind the scheduler.
    deadline = time.monotonic() + 20
    while not (held := codes(client, where)["RUNNING"]["holders"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(party["kind"], party["name"]) for party in held] == [("executor", "10.0.0.7:50052"), ("worker", "pod-1")]
    stack.report("slow", "a", 4, ended={"outcome": "OUTCOME_SUCCESS", "return_length": -1})
    expect(client, where)
    expect(client, "/dags/slow/runs/one/explain")


def test_a_file_that_cannot_be_parsed(stack: Stack, client: httpx.Client) -> None:
    error = definitions_pb2.ParseError(
        bundle="main", relative_path="dags/bad.py", message="invalid syntax", dag_ids=["never", "worked"], line=3
    )
    error.detected_time.GetCurrentTime()
    stack.producer.send(Outgoing("workflow_parse_errors", "main/dags/bad.py", error))
    stack.publish(chain("worked", "a"))
    found = expect(client, "/dags/never/explain", "PARSE_ERROR")["PARSE_ERROR"]
    assert "dags/bad.py of bundle main, line 3 can't be parsed: invalid syntax" in found["message"]
    assert not found["note"]
    # An earlier version stays in force, so the error alone holds nothing back.
    assert expect(client, "/dags/worked/explain", "NO_SCHEDULE", "PARSE_ERROR")["PARSE_ERROR"]["note"]


def test_grpc_says_the_same(stack: Stack, client: httpx.Client, channel: grpc.Channel) -> None:
    stack.publish(chain("remote", "a"))
    expect(client, "/dags/remote/explain", "NO_SCHEDULE")
    stub = gateway_pb2_grpc.GatewayServiceStub(channel)
    answer = stub.Explain(gateway_pb2.ExplainRequest(subject=Subject(dag_id="remote")), timeout=10).explanation
    assert ([reason.code for reason in answer.reasons], answer.partition) == (["NO_SCHEDULE"], "spinner_tier_1_0")
    with pytest.raises(grpc.RpcError) as unknown:
        stub.Explain(gateway_pb2.ExplainRequest(subject=Subject(dag_id="remote", run_id="absent")), timeout=10)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_unknown_subjects(stack: Stack, client: httpx.Client) -> None:
    stack.publish(chain("known", "a"))
    expect(client, "/dags/known/explain", "NO_SCHEDULE")
    stack.command("known", trigger_run={"run_id": "one"})
    for where, code in (
        ("/dags/absent/explain", "DAG_NOT_FOUND"),
        ("/dags/known/runs/absent/explain", "RUN_NOT_FOUND"),
        ("/dags/known/runs/one/tasks/absent/-1/explain", "TASK_NOT_FOUND"),
    ):
        expect(client, where, code)
        answer = client.get(where)
        assert (answer.status_code, bool(answer.json()["fix"])) == (404, True)


def test_without_an_owner_it_says_so_and_the_next_one_answers(stack: Stack, client: httpx.Client) -> None:
    stack.publish(chain("orphan", "a"))
    expect(client, "/dags/orphan/explain", "NO_SCHEDULE")
    stack.processes[-1].send_signal(signal.SIGKILL)
    stack.processes[-1].wait()
    answer = client.get("/dags/orphan/explain")
    assert (answer.status_code, answer.json()["code"]) == (503, "PARTITION_WITHOUT_OWNER")
    assert "spinner_tier_1_0" in answer.json()["message"]
    stack.start_scheduler()
    expect(client, "/dags/orphan/explain", "NO_SCHEDULE", seconds=40)
