"""What tasks ask for is shown with where it comes from, can be set and reset, and every change is audited."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from spinner_proto.usage.v1 import usage_pb2

MIB = 1 << 20


@pytest.fixture(scope="module")
def learned(gateway: Any, put: Any, put_records: Any, script: Any) -> None:
    """DAG etl, whose task t0 has configured memory and five successes; t1 has neither."""
    definition = script.definition("etl")
    definition.tasks[0].resources_json = '{"request_memory": "2Gi", "limit_memory": "4Gi"}'
    usage = usage_pb2.TaskUsage(
        dag_id="etl", task_id="t0", learned_request_bytes=256 * MIB, next_request_bytes=256 * MIB,
        next_limit_bytes=4096 * MIB, next_source="learned", configured_request_bytes=2048 * MIB,
    )  # fmt: skip
    usage.time.FromDatetime(datetime.now(UTC))
    for _ in range(5):
        usage.samples.add(peak_memory_bytes=200 * MIB).end_time.FromDatetime(datetime.now(UTC))
    put_records(gateway.log, ("workflow_definitions", "etl@v1", definition), ("task_usage", "etl/t0", usage))
    put(gateway.log, script.dag("etl"))
    gateway.caught_up()


def of(client: httpx.Client, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(task for task in client.get("/dags/etl/memory").json() if task["task_id"] == task_id)
    return found


def test_a_task_shows_what_it_learned_and_from_what(learned: None, client: httpx.Client) -> None:
    task = of(client, "t0")
    assert (task["request_bytes"], task["limit_bytes"], task["source"]) == (256 * MIB, 4096 * MIB, "learned")
    assert (task["configured_request_bytes"], len(task["samples"])) == (2048 * MIB, 5)
    assert (of(client, "t1")["source"], of(client, "t1")["samples"]) == ("", [])


def test_memory_is_set_and_reset(learned: None, client: httpx.Client, eventually: Any) -> None:
    answer = client.put("/dags/etl/tasks/t0/memory", json={"memory_request": "512Mi"}).json()
    assert (answer["request_bytes"], answer["limit_bytes"], answer["source"]) == (512 * MIB, 4096 * MIB, "set")
    eventually(lambda: of(client, "t0")["source"] == "set", "the setting is in the views")
    assert of(client, "t0")["set_by"] == "user:developer"
    assert client.delete("/dags/etl/tasks/t0/memory").status_code == 204
    eventually(lambda: of(client, "t0")["source"] == "configured", "the reset is in the views")
    assert of(client, "t0")["samples"] == []

    def audited() -> set[str]:
        return {entry["action"] for entry in client.get("/audit?subject=dag/etl").json()["items"]}

    eventually(lambda: {"task.memory.set", "task.memory.reset"} <= audited(), "both are in the audit trail")


@pytest.mark.parametrize(
    ("task_id", "body", "status", "code"),
    [
        ("t0", {"memory_request": "lots"}, 400, "MEMORY_INVALID"),
        ("t0", {"memory_request": "1Gi", "memory_limit": "512Mi"}, 400, "MEMORY_INVALID"),
        ("t0", {"memory_request": 5}, 400, "MEMORY_INVALID"),
        ("nope", {"memory_request": "1Gi"}, 404, "TASK_NOT_FOUND"),
    ],
)
def test_wrong_amounts_and_tasks_are_explained(
    learned: None, client: httpx.Client, task_id: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.put(f"/dags/etl/tasks/{task_id}/memory", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]
