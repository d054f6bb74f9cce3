"""What a clear would do and does, through the gateway, from a real scheduler process (B4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from spinner_proto.common.v1.common_pb2 import RunKey
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import ClearEffect, ClearReason
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_servicekit import grpc_client

from services.webgateway.tests.integration.conftest import wait_for
from services.webgateway.tests.integration.test_explain import Stack, chain

CLEAR = "/dags/scoped/runs/one/clear"


@pytest.fixture(scope="module")
def stack(log: Any, kafka_bootstrap: str, prefix: str, folder: Path) -> Iterator[Stack]:
    made = Stack(log, kafka_bootstrap, prefix, folder)
    made.start_scheduler()
    yield made
    made.stop()


def scoped(version: str, *tasks: str) -> DagDefinition:
    """Each after the one before; `up` is set up for `work` and taken down by `down`."""
    made = chain("scoped", *tasks)
    made.version = version
    at = {task.task_id: task for task in made.tasks}
    at["up"].is_setup = True
    at["down"].is_teardown = True
    at["down"].upstream.append(list(at).index("up"))
    at["down"].setups.append(list(at).index("up"))
    return made


@pytest.fixture(scope="module")
def ended(stack: Stack, client: httpx.Client) -> Stack:
    """A run whose first version has ended, of a DAG that has a second one now."""
    stack.publish(scoped("v1", "up", "work", "old", "down"))
    wait_for(lambda: client.get("/dags/scoped").status_code == 200, "the DAG is known")
    stack.command("scoped", trigger_run={"run_id": "one"})
    for task in ("up", "work", "old", "down"):
        stack.report("scoped", task, 3, ended={"outcome": "OUTCOME_SUCCESS", "return_length": -1})
    wait_for(lambda: client.get("/dags/scoped/runs/one").json().get("state") == "success", "the run has ended")
    stack.publish(scoped("v2", "up", "work", "new", "down"))
    wait_for(lambda: client.get("/dags/scoped").json()["version"] == "v2", "the second version is known")
    return stack


def told(plan: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {task["task_id"]: (task["effect"], task["reason"]) for task in plan["tasks"]}


def test_a_dry_run_shows_the_scope_and_changes_nothing(ended: Stack, client: httpx.Client) -> None:
    plan = client.post(CLEAR, json={"task_ids": ["work"], "dry_run": True}).json()
    assert told(plan) == {
        "up": ("rerun", "setup_teardown"),
        "work": ("rerun", "chosen"),
        "down": ("rerun", "setup_teardown"),
    }
    assert (plan["task_count"], plan["run_count"], plan["version"]) == (3, 1, "")
    assert client.get("/dags/scoped/runs/one").json()["state"] == "success"
    nothing = client.post(CLEAR, json={"only_failed": True, "dry_run": True})
    assert nothing.status_code == 200 and nothing.json()["task_count"] == 0


def test_a_dry_run_shows_what_the_latest_version_changes(ended: Stack, client: httpx.Client) -> None:
    plan = client.post(CLEAR, json={"task_ids": ["work"], "latest_version": True, "dry_run": True}).json()
    assert told(plan)["old"] == ("removed", "version")
    assert told(plan)["new"] == ("added", "version")
    assert (plan["task_count"], plan["removed_count"], plan["added_count"], plan["version"]) == (3, 1, 1, "v2")


def test_wrong_choices_are_explained(ended: Stack, client: httpx.Client) -> None:
    unknown = client.post(CLEAR, json={"task_ids": ["nope"], "dry_run": True})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "TASK_NOT_FOUND") and unknown.json()["fix"]
    nothing = client.post(CLEAR, json={"only_failed": True})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "NOTHING_TO_CLEAR")
    assert nothing.json()["fix"] == "Widen the choice"


def test_grpc_previews_and_clears_and_both_say_the_same(ended: Stack, client: httpx.Client, gateway: Any) -> None:
    with grpc.insecure_channel(gateway.grpc_address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        request = gateway_pb2.ClearTasksRequest(
            key=RunKey(dag_id="scoped", run_id="one"), task_ids=["work"], latest_version=True, dry_run=True
        )
        preview = stub.ClearTasks(request, timeout=20)
        effects = {task.task_id: task.effect for task in preview.plan.tasks}
        assert effects["new"] == ClearEffect.CLEAR_EFFECT_ADDED and effects["old"] == ClearEffect.CLEAR_EFFECT_REMOVED
        assert {t.reason for t in preview.plan.tasks if t.task_id == "up"} == {ClearReason.CLEAR_REASON_SETUP_TEARDOWN}
        request.dry_run = False
        done = stub.ClearTasks(request, timeout=20)
        assert done.plan == preview.plan and done.task_count == 3
        wait_for(lambda: client.get("/dags/scoped/runs/one").json()["version"] == "v2", "the run has the new version")
        with pytest.raises(grpc.RpcError) as failure:
            stub.ClearTasks(
                gateway_pb2.ClearTasksRequest(key=RunKey(dag_id="scoped", run_id="nope"), dry_run=True), timeout=20
            )
        refusal = grpc_client.rejected(failure.value)
        assert refusal is not None and (refusal.code, refusal.reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
