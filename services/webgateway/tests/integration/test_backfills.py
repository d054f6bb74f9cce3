"""A backfill from the gateway's API through Kafka and a real scheduler to its runs, and back into the views."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2
from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_proto.orders.v1 import orders_pb2
from spinner_webgateway.adapters import database, schema
from spinner_webgateway.adapters.projector import Projector, topics_of

INBOX = "scheduler_inbox-spinner_tier_1"
EVENTS = "workflow_events-spinner_tier_1"
ORDERS = "task_orders-spinner"


FORM = b'{"n": {"value": 1, "required": false, "description": null, "schema": {"type": "integer", "minimum": 1}}}'


class Executor:
    """Ends each task when it is let."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._producer = log.producer("executor")
        self.free = threading.Event()
        self.orders: dict[str, orders_pb2.TaskOrder] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Executor:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        reader = self._log.reader([(ORDERS, n) for n in range(self._log.partition_count(ORDERS))], "earliest")
        while not self._stop.is_set():
            for record in reader.poll(100, 0.05):
                if record.value is None:
                    self.orders.pop(record.key, None)
                else:
                    self.orders[record.key] = record.decode(orders_pb2.TaskOrder)
            if self.free.is_set():
                for order in list(self.orders.values()):
                    self._end(order)
                self._producer.flush()
        reader.close()

    def _end(self, order: orders_pb2.TaskOrder) -> None:
        if order.try_key.task_id == "ask" and order.segment == 0:
            self._ask(order)
            return
        ended = inbox_pb2.TaskEnded(outcome=common_pb2.OUTCOME_SUCCESS, return_length=-1)
        if order.desired_state == orders_pb2.DESIRED_STATE_CANCELLED:
            ended.outcome = common_pb2.OUTCOME_KILLED_BY_USER
        report = inbox_pb2.TaskReport(try_key=order.try_key, segment=order.segment, sequence=3, ended=ended)
        message = inbox_pb2.InboxMessage(task_report=report)
        self._producer.send(Outgoing(order.reply_topic, order.try_key.dag_id, message, order.reply_partition))

    def _ask(self, order: orders_pb2.TaskOrder) -> None:
        human = inbox_pb2.HumanRequest(
            subject="Ship it?", options=["Approve", "Reject"], kind="approval", params_json=FORM
        )
        human.timeout.FromSeconds(3600)
        deferred = inbox_pb2.TaskDeferred(method_name="execute_complete", human=human)
        report = inbox_pb2.TaskReport(try_key=order.try_key, segment=0, sequence=3, deferred=deferred)
        message = inbox_pb2.InboxMessage(task_report=report)
        self._producer.send(Outgoing(order.reply_topic, order.try_key.dag_id, message, order.reply_partition))


@pytest.fixture(scope="module")
def installation(gateway: Any, kafka_bootstrap: str, prefix: str, folder: Path) -> Iterator[Executor]:
    """A scheduler process and an executor beside the gateway."""
    environment = {
        **os.environ,
        "SPINNER_KAFKA": kafka_bootstrap,
        "SPINNER_TOPIC_PREFIX": prefix,
        "SPINNER_TIERS": "1",
        "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
        "SPINNER_STATUS_FILE": str(folder / "scheduler.json"),
    }
    with (folder / "scheduler.log").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "spinner_scheduler"], env=environment, stdout=output)
    executor = Executor(gateway.log).start()
    yield executor
    executor.stop()
    process.terminate()
    process.wait(20)


@pytest.fixture
def daily(gateway: Any, installation: Executor, put_records: Any, eventually: Any, request: Any) -> Iterator[str]:
    """A daily DAG of two tasks, of the test's own name, whose schedule makes no runs yet."""
    dag_id = request.node.name.removeprefix("test_")[:60]
    definition = definitions_pb2.DagDefinition(dag_id=dag_id, version="v1")
    definition.placement.cluster, definition.placement.tier = "spinner", 1
    definition.schedule.cron.expressions.append("0 0 * * *")
    definition.parsed_time.FromDatetime(datetime.now(UTC))
    # Nothing of the schedule itself comes in between.
    definition.start_date.FromDatetime(datetime(2099, 1, 1, tzinfo=UTC))
    definition.tasks.add(task_id="extract")
    definition.tasks.add(task_id="load", upstream=[0])
    if "decide" in dag_id:
        definition.tasks.add(task_id="ask", upstream=[1])
    put_records(gateway.log, ("workflow_definitions", f"{dag_id}@v1", definition))
    producer = gateway.log.producer("dag-sync")
    published = inbox_pb2.DefinitionPublished(dag_id=dag_id, version="v1")
    producer.send(Outgoing(INBOX, dag_id, inbox_pb2.InboxMessage(definition_published=published), 0))
    producer.flush()
    with gateway.client() as client:
        eventually(lambda: client.get(f"/dags/{dag_id}").json().get("version") == "v1", "the DAG is known")
    installation.free.clear()
    yield dag_id


def ask(client: httpx.Client, dag_id: str, **body: Any) -> httpx.Response:
    dates = {"from_date": "2026-03-01", "to_date": "2026-03-05"}
    return client.post(f"/dags/{dag_id}/backfills", json={**dates, **body})


def test_a_backfill_from_its_plan_to_its_end(
    client: httpx.Client, daily: str, installation: Executor, eventually: Any, gateway: Any, tmp_path: Path
) -> None:
    planned = ask(client, daily, dry_run=True, task_ids=" extract,\n load ")
    assert planned.status_code == 200, planned.text
    plan = planned.json()["plan"]
    assert (plan["interval_count"], plan["create_count"], plan["task_count"]) == (5, 5, 2)
    assert plan["intervals"][0]["run_id"] == "backfill__2026-03-01T00:00:00+00:00"
    assert client.get("/backfills", params={"dag_id": daily}).json()["total"] == 0

    body = {"max_active_runs": 2, "conf": {"full": True}, "skip_callbacks": True, "request_id": f"r-{daily}"}
    made = ask(client, daily, **body).json()
    assert ask(client, daily, **body).json() == made
    where = f"/dags/{daily}/backfills/{made['backfill_id']}"
    eventually(lambda: len([o for o in installation.orders.values() if o.try_key.dag_id == daily]) == 2, "two run")
    order = next(o for o in installation.orders.values() if o.try_key.dag_id == daily)
    assert (order.pool, order.skip_callbacks, order.conf.inline) == ("backfill", True, b'{"full":true}')

    assert client.patch(where, json={"state": "paused"}).status_code == 200
    installation.free.set()
    eventually(lambda: client.get(where).json()["run_counts"] == {"success": 2}, "what ran has ended")
    assert client.get(where).json()["state"] == "paused"
    assert client.patch(where, json={"state": "running"}).status_code == 200
    eventually(lambda: client.get(where).json()["state"] == "done", "it ends")

    found = client.get(where).json()
    assert (found["taken_count"], found["skip_count"], found["run_counts"]) == (5, 0, {"success": 5})
    assert _most_at_once(gateway.log, daily) == 2
    runs = client.get(f"/dags/{daily}/runs").json()["items"]
    assert sorted(run["logical_date"][:10] for run in runs) == [f"2026-03-0{day}" for day in range(1, 6)]
    assert {run["run_type"] for run in runs} == {"backfill"}
    audited = {entry["action"] for entry in client.get("/audit", params={"subject": f"dag/{daily}"}).json()["items"]}
    assert audited == {"backfill.create"}

    # Again over the same days: nothing is doubled, and what exists is named.
    again = ask(client, daily, dry_run=True).json()["plan"]
    assert (again["skip_count"], again["create_count"]) == (5, 0)
    assert "exists: success" in again["intervals"][0]["reason"]
    _rebuild_equals(gateway, tmp_path)


def _most_at_once(log: Any, dag_id: str) -> int:
    running: set[str] = set()
    most = 0
    for record in log.read_all(EVENTS, 0):
        message = record.decode(events_pb2.WorkflowEvents)
        for event in message.events:
            if message.dag_id == dag_id and event.HasField("run_state_changed"):
                if event.run_state_changed.state == common_pb2.RUN_STATE_RUNNING:
                    running.add(message.run_id)
                else:
                    running.discard(message.run_id)
                most = max(most, len(running))
    return most


def _rebuild_equals(gateway: Any, folder: Path) -> None:
    gateway.caught_up()
    fresh = database.open_database(f"sqlite:///{folder}/fresh.db")
    database.migrate(fresh)
    Projector(gateway.log, fresh, topics_of(["spinner_tier_1"])).catch_up()
    for name in ("backfills", "backfill_intervals", "runs", "commands", "decisions"):
        table = schema.VIEWS[name]
        rows = []
        for engine in (gateway.parts.engine, fresh):
            with engine.connect() as connection:
                found = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
                rows.append([dict(row) for row in found])
        assert rows[0] == rows[1]


def test_refusals(client: httpx.Client, daily: str) -> None:
    long = {"from_date": "2026-01-01", "to_date": "2026-03-01"}
    refused = ask(client, daily, **long)
    assert (refused.status_code, refused.json()["code"]) == (400, "BACKFILL_TOO_LONG")
    assert "31 days" in refused.json()["message"]
    assert ask(client, daily, **long, override_cap=True, dry_run=True).json()["plan"]["interval_count"] == 60
    unknown = ask(client, daily, task_ids="extract, nope,neither")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "TASK_NOT_FOUND")
    assert "nope, neither" in unknown.json()["message"]
    assert ask(client, daily, to_date="2026-02-01").json()["code"] == "DATES_INVALID"
    assert client.get(f"/dags/{daily}/backfills/none").json()["code"] == "BACKFILL_NOT_FOUND"
    assert client.patch(f"/dags/{daily}/backfills/none", json={"state": "paused"}).status_code == 404


def test_programs_backfill_by_grpc(
    client: httpx.Client, daily: str, gateway: Any, installation: Executor, eventually: Any
) -> None:
    first, last = Timestamp(), Timestamp()
    first.FromJsonString("2026-03-01T00:00:00Z")
    last.FromJsonString("2026-03-03T00:00:00Z")
    with contextlib.closing(grpc.insecure_channel(gateway.grpc_address)) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)  # type: ignore[no-untyped-call]
        wish = gateway_pb2.CreateBackfillRequest(
            dag_id=daily, from_date=first, to_date=last, run_order=inbox_pb2.RUN_ORDER_BACKWARD, max_active_runs=1
        )
        dry = gateway_pb2.CreateBackfillRequest(dry_run=True)
        dry.MergeFrom(wish)
        assert stub.CreateBackfill(dry).plan.create_count == 3
        made = stub.CreateBackfill(wish)
        key = {"dag_id": daily, "backfill_id": made.backfill_id}
        eventually(lambda: any(o.try_key.dag_id == daily for o in installation.orders.values()), "the first runs")
        (order,) = [o for o in installation.orders.values() if o.try_key.dag_id == daily]
        assert order.try_key.run_id == "backfill__2026-03-03T00:00:00+00:00"
        assert stub.CancelBackfill(gateway_pb2.CancelBackfillRequest(**key, stop_runs=True)).run_count == 1
        found = stub.GetBackfill(gateway_pb2.GetBackfillRequest(**key)).backfill
        assert (found.taken_count, found.interval_count, found.failed_count) == (1, 3, 1)
        (listed,) = stub.ListBackfills(gateway_pb2.ListBackfillsRequest(dag_id=daily)).backfills
        assert listed == found
        with pytest.raises(grpc.RpcError) as refused:
            stub.ResumeBackfill(gateway_pb2.ResumeBackfillRequest(**key))
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    installation.free.set()


def test_people_decide(
    client: httpx.Client, daily: str, gateway: Any, installation: Executor, eventually: Any, tmp_path: Path
) -> None:
    installation.free.set()
    run_id = client.post(f"/dags/{daily}/runs", json={}).json()["run_id"]
    eventually(lambda: client.get("/decisions", params={"dag_id": daily}).json()["total"] == 1, "it asks")
    (waiting,) = client.get("/decisions").json()["items"]
    assert (waiting["subject"], waiting["options"], waiting["state"]) == ("Ship it?", ["Approve", "Reject"], "waiting")
    assert waiting["params"] == json.loads(FORM) and waiting["deadline"] > waiting["requested_time"]
    where = f"/dags/{daily}/runs/{run_id}/tasks/ask/-1/decision"
    for wrong, code, word in (
        ({"chosen_options": ["Perhaps"]}, "OPTION_UNKNOWN", "Perhaps"),
        ({"chosen_options": []}, "OPTION_MISSING", "Approve"),
        ({"chosen_options": ["Approve", "Reject"]}, "OPTIONS_TOO_MANY", "one"),
        ({"chosen_options": ["Approve"], "params": {"n": 0}}, "FIELD_INVALID", "'n'"),
        ({"chosen_options": ["Approve"], "params": {"n": 2, "m": 1}}, "FIELD_UNKNOWN", "'m'"),
    ):
        refused = client.post(where, json=wrong)
        assert (refused.status_code, refused.json()["code"]) == (400, code)
        assert word in refused.json()["message"] + refused.json()["fix"] and refused.json()["fix"]
    assert client.get(where).json()["state"] == "waiting"
    answer = {"chosen_options": ["Approve"], "params": {"n": 2}, "note": "fine", "request_id": f"d-{daily}"}
    assert client.post(where, json=answer).status_code == 200
    assert client.post(where, json=answer).status_code == 200
    late = client.post(where, json={"chosen_options": ["Reject"]})
    assert (late.status_code, late.json()["code"]) == (409, "NOT_WAITING")
    eventually(lambda: client.get(f"/dags/{daily}/runs/{run_id}").json()["state"] == "success", "the run ends")
    decided = client.get(where).json()
    assert (decided["state"], decided["chosen_options"], decided["params_input"]) == ("decided", ["Approve"], {"n": 2})
    assert (decided["decided_by"], decided["note"]) == ("user:developer", "fine")
    assert client.get("/decisions", params={"dag_id": daily}).json()["total"] == 0

    def rejected() -> int:
        audited = client.get("/audit", params={"subject": f"task/{daily}/{run_id}/ask"}).json()["items"]
        return [entry["result"] for entry in audited if entry["action"] == "task.decide"].count("rejected")

    eventually(lambda: rejected() == 6, "all that was refused is in the audit trail")

    # What was asked and then stopped waits for nobody.
    installation.free.set()
    other = client.post(f"/dags/{daily}/runs", json={}).json()["run_id"]
    eventually(lambda: client.get("/decisions", params={"dag_id": daily}).json()["total"] == 1, "it asks again")
    with contextlib.closing(grpc.insecure_channel(gateway.grpc_address)) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)  # type: ignore[no-untyped-call]
        (asked,) = stub.ListDecisions(gateway_pb2.ListDecisionsRequest(dag_id=daily)).decisions
        assert (asked.key.run_id, asked.request.subject, asked.state) == (other, "Ship it?", "waiting")
        key = common_pb2.RunKey(dag_id=daily, run_id=other)
        assert stub.KillTasks(gateway_pb2.KillTasksRequest(key=key, task_ids=["ask"])).task_count == 1
    eventually(lambda: client.get(f"/dags/{daily}/runs/{other}").json()["state"] == "failed", "it was killed")
    assert client.get(f"/dags/{daily}/runs/{other}/tasks/ask/-1/decision").json()["state"] == "closed"
    _rebuild_equals(gateway, tmp_path)
