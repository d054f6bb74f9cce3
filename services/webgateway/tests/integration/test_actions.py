"""Actions go through the scheduler's inbox and come back with its answer; each leaves an audit event."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from spinner_objectstore import ObjectStore
from spinner_proto.common.v1 import common_pb2

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def dag(gateway: Any, put: Any, put_records: Any, script: Any) -> None:
    put_records(gateway.log, ("workflow_definitions", "etl@v1", script.definition("etl")))
    put(
        gateway.log,
        script.dag("etl"),
        script.created("etl", "r1"),
        script.ended("etl", "r1", "t0", "success"),
        script.ended("etl", "r1", "t1", "failed"),
        script.task("etl", "r1", "t2", "upstream_failed", 0),
        script.run_state("etl", "r1", "failed"),
    )
    gateway.caught_up()


@pytest.fixture
def answers(dag: None, scheduler: Any) -> Iterator[Any]:
    scheduler.commands.clear()
    scheduler.decide = scheduler.accept
    yield scheduler
    scheduler.decide = scheduler.accept


def trigger(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/dags/etl/runs", json=body)


def test_a_trigger_returns_when_the_run_is_there(client: httpx.Client, answers: Any) -> None:
    response = trigger(client, run_id="by-hand", conf={"full": True}, note="once more")
    assert response.status_code == 200
    assert response.json()["run_id"] == "by-hand"
    assert client.get("/dags/etl/runs/by-hand").status_code == 200
    (command,) = answers.commands
    assert (command.actor.name, command.trigger_run.note) == ("user:developer", "once more")
    assert json.loads(command.trigger_run.conf.inline) == {"full": True}


def test_a_request_is_carried_out_once(client: httpx.Client, answers: Any) -> None:
    request = str(uuid.uuid4())
    first = trigger(client, request_id=request)
    assert trigger(client, request_id=request).json() == first.json()
    assert len(answers.commands) == 1


@pytest.mark.parametrize(("code", "status"), [("RUN_EXISTS", 409), ("DAG_NOT_FOUND", 404), ("INVALID_CONF", 400)])
def test_a_refusal_is_a_problem(client: httpx.Client, answers: Any, code: str, status: int) -> None:
    answers.reject(code, "run r1 of etl exists already: choose another run id")
    response = trigger(client)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["fix"] == "Choose another run id"


def test_a_silent_scheduler_is_named_and_the_answer_is_found_later(start_gateway: Any, dag: None, answers: Any) -> None:
    gateway = start_gateway(answer_seconds=0.2)
    gateway.caught_up()
    answers.decide = lambda command: []
    request = str(uuid.uuid4())
    with gateway.client() as client:
        late = trigger(client, request_id=request)
        assert (late.status_code, late.json()["code"]) == (503, "ANSWER_PENDING")
        assert "spinner_tier_1_0" in late.json()["message"]
        assert request in late.json()["fix"]


@pytest.mark.parametrize("conf", ['"full"', "[1]", "7", "null"])
def test_conf_must_be_an_object(client: httpx.Client, dag: None, conf: str) -> None:
    response = client.post("/dags/etl/runs", content=f'{{"conf": {conf}}}', headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "CONF_NOT_OBJECT")
    assert "dag_run.conf" in response.json()["fix"]


def test_large_conf_travels_by_reference_and_too_large_is_refused(
    client: httpx.Client, answers: Any, store: ObjectStore
) -> None:
    assert trigger(client, conf={"text": "x" * 20_000}).status_code == 200
    reference = answers.commands[0].trigger_run.conf.object
    assert len(store.get(reference.key)) == reference.size > 20_000
    response = trigger(client, conf={"text": "x" * 1_100_000})
    assert (response.status_code, response.json()["code"]) == (413, "CONF_TOO_LARGE")
    assert "1 MiB" in response.json()["message"]


def test_a_huge_body_is_refused_by_its_length_and_while_it_comes(client: httpx.Client, dag: None) -> None:
    stated = client.post("/dags/etl/runs", content=b"x" * 10_000_000, headers=JSON)
    assert (stated.status_code, stated.json()["code"]) == (413, "BODY_TOO_LARGE")
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200_000_000:
            sent += 100_000
            yield b"x" * 100_000

    chunked = client.post("/dags/etl/runs", content=endless(), headers=JSON)
    assert chunked.status_code == 413
    assert sent < 50_000_000


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "status"),
    [
        ("POST", "/dags/nope/runs", {}, "DAG_NOT_FOUND", 404),
        ("PATCH", "/dags/nope", {"paused": True}, "DAG_NOT_FOUND", 404),
        ("POST", "/dags/etl/runs", {"run_id": "a b"}, "RUN_ID_INVALID", 400),
        ("POST", "/dags/etl/runs", {"logical_date": "yesterday"}, "REQUEST_INVALID", 400),
        ("POST", "/dags/etl/runs/nope/clear", {"dry_run": True}, "RUN_NOT_FOUND", 404),
        ("POST", "/dags/etl/runs/r1/clear", {"task_ids": ["nope"]}, "TASK_NOT_FOUND", 404),
        ("POST", "/dags/etl/runs/r1/mark-tasks", {"task_ids": [], "state": "failed"}, "TASKS_MISSING", 400),
        ("POST", "/dags/etl/runs/r1/mark-tasks", {"task_ids": ["t0"], "state": "lost"}, "REQUEST_INVALID", 400),
        ("POST", "/dags/etl/runs/nope/stop", {}, "RUN_NOT_FOUND", 404),
        ("DELETE", "/pools/default_pool", None, "POOL_NEEDED", 409),
    ],
)
def test_wrong_requests_are_explained(
    client: httpx.Client, answers: Any, method: str, path: str, body: Any, code: str, status: int
) -> None:
    response = client.request(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["fix"]
    assert answers.commands == []


def test_every_action_reaches_the_scheduler_and_the_audit_trail(
    client: httpx.Client, answers: Any, gateway: Any, eventually: Any
) -> None:
    assert client.patch("/dags/etl", json={"paused": True}).status_code == 200
    assert client.post("/dags/etl/runs/r1/clear", json={"only_failed": True}).json()["task_count"] == 2
    mark = {"task_ids": ["t1"], "state": "success", "downstream": True}
    assert client.post("/dags/etl/runs/r1/mark-tasks", json=mark).status_code == 200
    assert client.post("/dags/etl/runs/r1/mark", json={"state": "failed"}).status_code == 200
    assert client.post("/dags/etl/runs/r1/stop").status_code == 200
    kinds = [command.WhichOneof("kind") for command in answers.commands]
    assert kinds == ["set_paused", "clear_tasks", "mark_tasks", "mark_run", "stop_run"]
    assert answers.commands[2].mark_tasks.state == common_pb2.TASK_STATE_SUCCESS
    answers.reject("INVALID_STATE", "no")
    client.post("/dags/etl/runs/r1/stop")

    def trail() -> Any:
        items = client.get("/audit", params={"subject": "run/etl"}).json()["items"]
        return [(item["action"], item["result"]) for item in items][:5]

    wanted = [
        ("run.stop", "rejected"),
        ("run.stop", "accepted"),
        ("run.mark", "accepted"),
        ("task.mark", "accepted"),
        ("task.clear", "accepted"),
    ]
    eventually(lambda: trail() == wanted, "the audit trail")


def test_another_site_can_change_nothing(client: httpx.Client, answers: Any) -> None:
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        response = client.post("/dags/etl/runs/r1/stop", headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "OTHER_SITE")
    assert answers.commands == []


def test_pools_variables_and_connections(client: httpx.Client, answers: Any, eventually: Any) -> None:
    assert client.put("/pools/gpu", json={"slots": 2}).status_code == 200
    assert client.put("/variables/region", json={"value": "eu"}).status_code == 200
    assert client.put("/variables/key", json={"value": "hush", "secret": True}).json()["value"] is None
    body = {"type": "mysql", "host": "db", "port": 3306, "schema": "shop", "password": "hush", "extra": {"ssl": True}}
    assert client.put("/connections/shop", json=body).json()["has_password"] is True

    def there() -> bool:
        pools = {pool["name"]: pool["slots"] for pool in client.get("/pools").json()}
        variables = {v["name"]: v["value"] for v in client.get("/variables").json()}
        connections = client.get("/connections").json()
        return (
            pools.get("gpu") == 2
            and variables == {"region": "eu", "key": None}
            and [(c["schema"], c["has_password"]) for c in connections] == [("shop", True)]
        )

    eventually(there, "settings are in the views")
    assert "hush" not in client.get("/connections").text + client.get("/audit").text
    eventually(lambda: [(p.pool, p.changed.slots) for p in answers.pools] == [("gpu", 2)], "the pool's owner knows")
    assert client.put("/connections/shop", json={"type": "mysql", "host": "db2"}).json()["has_password"] is True
    for path in ("/pools/gpu", "/variables/key", "/connections/shop"):
        assert client.delete(path).status_code == 204
        eventually(lambda path=path: client.get(path).status_code == 404, f"{path} is gone")


def test_a_request_is_carried_out_once_whichever_gateway_is_asked(
    client: httpx.Client, start_gateway: Any, answers: Any
) -> None:
    """B4: also after a restart, by a gateway whose views were built from the log."""
    wishes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/dags/etl/runs", {"conf": {"n": 1}}),
        ("PATCH", "/dags/etl", {"paused": True}),
        ("POST", "/dags/etl/runs/r1/clear", {"task_ids": ["t1"]}),
        ("POST", "/dags/etl/runs/r1/mark", {"state": "success"}),
        ("POST", "/dags/etl/runs/r1/mark-tasks", {"task_ids": ["t1"], "state": "success"}),
        ("POST", "/dags/etl/runs/r1/kill-tasks", {"task_ids": ["t1"]}),
        ("POST", "/dags/etl/runs/r1/stop", {}),
    ]
    sent = [(method, path, {**body, "request_id": str(uuid.uuid4())}) for method, path, body in wishes]
    first = [client.request(method, path, json=body) for method, path, body in sent]
    assert [answer.status_code for answer in first] == [200] * len(sent), [answer.text for answer in first]
    other = start_gateway()
    other.caught_up()
    with other.client() as again:
        repeated = [again.request(method, path, json=body).json() for method, path, body in sent]
    assert repeated == [answer.json() for answer in first]
    assert [command.request_id for command in answers.commands] == [body["request_id"] for _, _, body in sent]
