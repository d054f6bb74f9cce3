"""What a page sees while things happen: changes, growing logs; and the same for programs by gRPC."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from spinner_objectstore import ObjectStore
from spinner_proto.common.v1 import common_pb2
from spinner_proto.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from spinner_servicekit.grpc_client import rejected

LOG = "".join(f"[2026-11-27T08:00:{n % 60:02d}.000Z] {{TaskExecStage}} INFO etl: line {n}\n" for n in range(1, 5001))


def sse(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    event = "message"
    for line in response.iter_lines():
        if line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            yield event, json.loads(line[5:])
            event = "message"


def begin(gateway: Any, put: Any, put_records: Any, script: Any, dag_id: str, **running: Any) -> str:
    """A DAG with a run whose t0 runs; returns the path of its log."""
    put_records(gateway.log, ("workflow_definitions", f"{dag_id}@v1", script.definition(dag_id)))
    put(
        gateway.log,
        script.dag(dag_id),
        script.created(dag_id, "r1"),
        script.run_state(dag_id, "r1", "running"),
        script.task(dag_id, "r1", "t0", "running", **running),
    )
    gateway.caught_up()
    return f"/dags/{dag_id}/runs/r1/tasks/t0/-1/tries/1/log"


def test_changes_come_and_are_few(gateway: Any, client: httpx.Client, put: Any, script: Any) -> None:
    with client.stream("GET", "/changes", params={"dag_id": "live"}) as response:
        events = sse(response)
        assert next(events)[0] == "ping"
        began = time.monotonic()
        for n in range(100):
            put(gateway.log, script.created("live", f"r{n}"), script.created("unseen", f"r{n}"))
        seen: set[tuple[str, str]] = set()
        count = 0
        for kind, data in events:
            if kind != "change":
                continue
            count += 1
            assert data["dags"] == ["live"]
            seen |= {tuple(run) for run in data["runs"]}
            if len(seen) == 100:
                break
        assert count <= 5 * (time.monotonic() - began) + 2


def test_a_final_log_is_read_by_windows(
    gateway: Any, client: httpx.Client, put: Any, put_records: Any, script: Any, store: ObjectStore
) -> None:
    path = begin(gateway, put, put_records, script, "final")
    store.put("logs/final.log", LOG.encode())
    put(gateway.log, script.ended("final", "r1", "t0", "success", log_key="logs/final.log", log_bytes=len(LOG)))
    gateway.caught_up()
    page = client.get(path, params={"first_line": 2001, "limit": 3}).json()
    assert [line["text"] for line in page["lines"]] == ["line 2001", "line 2002", "line 2003"]
    assert (page["total_lines"], page["complete"], page["lines"][0]["stage"]) == (5000, True, "TaskExecStage")
    tail = client.get(path, params={"tail": 2}).json()
    assert [line["line"] for line in tail["lines"]] == [4999, 5000]
    assert tail["next_offset"] == len(LOG)
    assert client.get(f"{path}/raw").text == LOG
    with client.stream("GET", f"{path}/stream", params={"offset": len(LOG) - 100}) as response:
        pages = [data for _, data in sse(response)]
    assert pages[-1]["complete"]
    assert [line["line"] for page in pages for line in page["lines"]][-1] == 5000


def test_a_missing_log_says_why(gateway: Any, client: httpx.Client, put: Any, put_records: Any, script: Any) -> None:
    path = begin(gateway, put, put_records, script, "lost")
    assert client.get(path).json()["lines"] == []
    put(gateway.log, script.ended("lost", "r1", "t0", "failed"))
    gateway.caught_up()
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "LOG_NOT_FOUND")


def test_a_running_log_is_followed_to_its_end(
    gateway: Any, client: httpx.Client, put: Any, put_records: Any, script: Any, executor: Any
) -> None:
    service, address = executor
    service.append("one\ntwo\n")
    path = begin(gateway, put, put_records, script, "running", executor=address)
    page = client.get(path).json()
    assert [line["text"] for line in page["lines"]] == ["one", "two"]
    assert (page["total_lines"], page["complete"]) == (None, False)
    with client.stream("GET", f"{path}/stream", params={"offset": page["next_offset"]}) as response:
        events = sse(response)
        service.append("thr")
        service.append("ee\nTraceback (most recent call last):\n")
        service.append("end", final=True)
        lines: list[Any] = []
        for _, data in events:
            lines += data["lines"]
            if data["complete"]:
                break
    assert [(line["line"], line["text"], line["critical"]) for line in lines] == [
        (3, "three", False),
        (4, "Traceback (most recent call last):", True),
        (5, "end", False),
    ]


def test_a_long_log_is_read_across_what_is_left_out_live_and_when_it_is_final(
    gateway: Any, client: httpx.Client, put: Any, put_records: Any, script: Any, executor: Any, store: ObjectStore
) -> None:
    service, address = executor
    lines = [f"line {n}\n" for n in range(1, 1001)]
    begin_at, end_at = len("".join(lines[:300])), len("".join(lines[:900]))
    mark = (
        "[2026-11-27T08:00:00.123Z] {TaskExecStage} WARNING spinner.log.left_out: "
        f"{end_at - begin_at:,} bytes (600 lines) are left out here: of a long log …\n"
    )
    with service.changed:
        service.text, service.final = b"", False
        service.gap = begin_at, end_at, mark.encode()
    service.append("".join(lines))
    try:
        path = begin(gateway, put, put_records, script, "long", executor=address)
        page = client.get(path, params={"tail": 3}).json()
        assert [(line["line"], line["text"]) for line in page["lines"]] == [
            (399, "line 998"), (400, "line 999"), (401, "line 1000"),
        ]  # fmt: skip
        assert (page["next_offset"], page["left_out_line"]) == (len("".join(lines)), 301)
        (shown,) = client.get(path, params={"first_line": 301, "limit": 1}).json()["lines"]
        assert shown["level"] == "WARNING" and "600 lines" in shown["text"]
        with client.stream("GET", f"{path}/stream", params={"offset": page["next_offset"]}) as response:
            service.append("the end\n", final=True)
            pages = [data for _, data in sse(response)]
        assert [(line["line"], line["text"]) for data in pages for line in data["lines"]] == [(402, "the end")]
    finally:
        service.gap = None
    final = "".join(lines[:300]) + mark + "".join(lines[900:]) + "the end\n"
    store.put("logs/long.log", final.encode())
    put(gateway.log, script.ended("long", "r1", "t0", "success", log_key="logs/long.log", log_bytes=len(final)))
    gateway.caught_up()
    page = client.get(path, params={"tail": 2}).json()
    assert (page["total_lines"], page["left_out_line"], page["complete"]) == (402, 301, True)
    assert page["next_offset"] == len("".join(lines)) + len("the end\n")
    # A reader of the live log goes on where it was, in the final one.
    with client.stream("GET", f"{path}/stream", params={"offset": len("".join(lines[:950]))}) as response:
        pages = [data for _, data in sse(response)]
    assert next(line["text"] for data in pages for line in data["lines"]) == "line 951"
    assert client.get(f"{path}/raw").text == final


def test_xcoms_are_listed(
    gateway: Any, client: httpx.Client, put: Any, put_records: Any, script: Any, store: ObjectStore
) -> None:
    begin(gateway, put, put_records, script, "xc")
    store.put("xcom/xc/r1/t0/-1/return_value.json", b'{"rows":3}')
    store.put("xcom/xc/r1/t0/-1/big.json", b'"' + b"x" * 300_000 + b'"')
    found = {entry["key"]: entry for entry in client.get("/dags/xc/runs/r1/tasks/t0/-1/xcom").json()}
    assert found["return_value"] == {"key": "return_value", "value": {"rows": 3}, "size": 10}
    assert "too large" in found["big"]["value"]


@pytest.fixture
def stub(channel: grpc.Channel) -> gateway_pb2_grpc.GatewayServiceStub:
    return gateway_pb2_grpc.GatewayServiceStub(channel)


def test_programs_list_trigger_clear_and_pause(
    gateway: Any, stub: Any, put: Any, put_records: Any, script: Any, scheduler: Any
) -> None:
    begin(gateway, put, put_records, script, "prog")
    listed = stub.ListDags(gateway_pb2.ListDagsRequest(query="prog", page_size=1))
    assert [(dag.dag_id, dag.owner) for dag in listed.dags] == [("prog", "data")]
    triggered = stub.TriggerRun(gateway_pb2.TriggerRunRequest(dag_id="prog", run_id="g1", conf_json='{"a":1}'))
    assert triggered.run_id == "g1"
    assert [run.key.run_id for run in stub.ListRuns(gateway_pb2.ListRunsRequest(dag_id="prog")).runs] == ["g1", "r1"]
    found = stub.GetRun(gateway_pb2.GetRunRequest(key=common_pb2.RunKey(dag_id="prog", run_id="r1")))
    assert [(task.key.task_id, task.state) for task in found.tasks] == [
        ("t0", common_pb2.TASK_STATE_RUNNING),
        ("t1", common_pb2.TASK_STATE_NONE),
        ("t2", common_pb2.TASK_STATE_NONE),
    ]
    cleared = stub.ClearTasks(gateway_pb2.ClearTasksRequest(key=found.run.key, task_ids=["t0"]))
    assert cleared.task_count == 2
    stub.SetDagPaused(gateway_pb2.SetDagPausedRequest(dag_id="prog", paused=True))
    assert scheduler.commands[-1].actor.via == "grpc"


@pytest.mark.parametrize(
    ("call", "request_", "status", "reason"),
    [
        ("TriggerRun", gateway_pb2.TriggerRunRequest(dag_id="nope"), grpc.StatusCode.NOT_FOUND, "DAG_NOT_FOUND"),
        (
            "TriggerRun",
            gateway_pb2.TriggerRunRequest(dag_id="nope", conf_json="[1]"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "CONF_NOT_OBJECT",
        ),
        ("GetRun", gateway_pb2.GetRunRequest(), grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND"),
    ],
)
def test_refusals_carry_reason_and_fix(stub: Any, call: str, request_: Any, status: Any, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, call)(request_)
    assert caught.value.code() == status
    refusal = rejected(caught.value)
    assert refusal is not None
    assert refusal.reason == reason
    assert refusal.fix


def test_a_run_that_exists_is_told_apart_from_other_conflicts(
    gateway: Any, stub: Any, put: Any, put_records: Any, script: Any, scheduler: Any
) -> None:
    begin(gateway, put, put_records, script, "twice")
    for code, status in (
        ("RUN_EXISTS", grpc.StatusCode.ALREADY_EXISTS),
        ("RUN_NOT_ACTIVE", grpc.StatusCode.FAILED_PRECONDITION),
    ):
        scheduler.reject(code, "run r1 of twice: choose another run id")
        with pytest.raises(grpc.RpcError) as caught:
            stub.TriggerRun(gateway_pb2.TriggerRunRequest(dag_id="twice", run_id="r1"), timeout=30)
        assert caught.value.code() == status


def test_a_watcher_sees_every_event_until_the_end(
    gateway: Any, stub: Any, put: Any, put_records: Any, script: Any
) -> None:
    begin(gateway, put, put_records, script, "watch")
    stream = stub.WatchRun(gateway_pb2.WatchRunRequest(key=common_pb2.RunKey(dag_id="watch", run_id="r1")), timeout=30)
    snapshot = next(stream).snapshot
    assert snapshot.run.state == common_pb2.RUN_STATE_RUNNING

    def go_on() -> None:
        for n in range(3):
            put(gateway.log, script.ended("watch", "r1", f"t{n}", "success"))
        put(gateway.log, script.run_state("watch", "r1", "success"))

    threading.Thread(target=go_on).start()
    kinds = [answer.events.events[0].WhichOneof("kind") for answer in stream]
    assert kinds == ["task_ended"] * 3 + ["run_state_changed"]


def test_a_program_tails_a_log(
    gateway: Any, stub: Any, put: Any, put_records: Any, script: Any, store: ObjectStore
) -> None:
    begin(gateway, put, put_records, script, "tail")
    store.put("logs/tail.log", LOG.encode())
    put(gateway.log, script.ended("tail", "r1", "t0", "success", log_key="logs/tail.log"))
    gateway.caught_up()
    key = common_pb2.TryKey(dag_id="tail", run_id="r1", task_id="t0", map_index=-1, try_number=1)
    parts = list(stub.TailLog(gateway_pb2.TailLogRequest(try_key=key, offset=10, follow=True), timeout=30))
    assert b"".join(part.text for part in parts) == LOG.encode()[10:]
    assert parts[-1].final
