"""What would happen, through the gateway, from a real scheduler process (B9)."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.webgateway.tests.integration.test_explain import Stack, chain


@pytest.fixture(scope="module")
def stack(log: Any, kafka_bootstrap: str, prefix: str, folder: Path) -> Iterator[Stack]:
    made = Stack(log, kafka_bootstrap, prefix, folder)
    made.start_scheduler()
    yield made
    made.stop()


def hourly(dag_id: str, **facts: Any) -> DagDefinition:
    made = chain(dag_id, "a", "b", **facts)
    made.schedule.cron.expressions.append("0 * * * *")
    made.schedule.cron.timezone = "UTC"
    made.start_date.FromJsonString("2026-01-01T00:00:00Z")
    return made


def test_the_next_days_of_a_live_dag(stack: Stack, client: httpx.Client) -> None:
    stack.publish(hourly("busy", max_active_runs=1, catchup=False))
    deadline = time.monotonic() + 20
    body = {"days": 1, "duration_seconds": 3000, "max_runs": 5}
    while (answer := client.post("/dags/busy/simulate", json=body)).status_code in (404, 503):
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert len(found["runs"]) == 5 and found["run_count"] >= 11
    assert found["runs"][0]["state"] == "success" and found["runs"][0]["task_count"] == 2
    assert found["limits"][0]["kind"] == "max_active_runs" and found["limits"][0]["name"] == "busy"
    assert found["stopped"] == "" and found["failed_run_count"] == 0


def test_what_nobody_published(stack: Stack, client: httpx.Client) -> None:
    text = b64encode(hourly("draft", catchup=True).SerializeToString()).decode()
    body = {"definitions": [text], "backfill": {"from_date": "2026-02-01", "to_date": "2026-02-02T00:00:00Z"}}
    answer = client.post("/simulate", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["run_count"] == 25
    assert {run["dag_id"] for run in found["runs"]} == {"draft"}

    made_up = client.post("/simulate", json={"synthetic_dags": 100, "max_runs": 0}, timeout=60).json()
    assert made_up["run_count"] == 100


def test_what_cant_be_simulated_is_refused(stack: Stack, client: httpx.Client) -> None:
    assert client.post("/dags/nowhere/simulate", json={}).status_code == 404
    nothing = client.post("/simulate", json={}, timeout=60)
    assert nothing.status_code == 400 and "names no DAG" in nothing.json()["message"]
    broken = client.post("/simulate", json={"definitions": ["!!"]})
    assert broken.status_code == 400 and broken.json()["code"] == "INVALID_DEFINITION"
    assert client.post("/simulate", json={"days": -1}).status_code == 400


def test_grpc_simulates(stack: Stack, client: httpx.Client, gateway: Any) -> None:
    with grpc.insecure_channel(gateway.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)  # type: ignore[no-untyped-call]
        request = gateway_pb2.SimulateRequest(dag_id="busy")
        request.simulation.period.FromSeconds(86_400)
        request.simulation.duration.FromSeconds(60)
        found = stub.Simulate(request, timeout=60).result
        assert found.run_count == len(found.runs) >= 23
        made_up = gateway_pb2.SimulateRequest()
        made_up.simulation.synthetic_dags = 10
        assert stub.Simulate(made_up, timeout=60).result.run_count == 10
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Simulate(gateway_pb2.SimulateRequest(dag_id="nowhere"), timeout=60)
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_who_leaves_makes_nobody_wait(stack: Stack, client: httpx.Client) -> None:
    """A month of 100,000 DAGs takes a minute or more; its end by the client's leaving gives the turn to the next."""
    with pytest.raises(httpx.ReadTimeout):
        client.post("/simulate", json={"synthetic_dags": 100_000, "days": 30}, timeout=2)
    assert client.post("/simulate", json={"synthetic_dags": 10}, timeout=60).json()["run_count"] == 10


def test_two_at_once_are_both_answered(stack: Stack, client: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(client.post, "/simulate", json={"synthetic_dags": 100}, timeout=60) for _ in range(2)]
        assert [answer.result().status_code for answer in asked] == [200, 200]
