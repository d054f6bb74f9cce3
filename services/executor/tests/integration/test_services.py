"""Throughput, live logs, status, gRPC workers, limits, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.executor.v1 import executor_pb2, executor_pb2_grpc
from spinner_proto.logs.v1.logs_pb2 import TaskLogChunk
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_proto.runtime.v1 import runtime_pb2_grpc
from stage import Stage, until

TALKING = """
import pathlib, time
def task(client, work):
    print("first line", flush=True)
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.02)
    print("last line")
"""


def _channel(process: object) -> grpc.Channel:
    status = json.loads(process.status_file.read_text())  # type: ignore[attr-defined]
    return grpc.insecure_channel(status["grpc"])


def test_two_hundred_parallel_tasks_end_once_each(stage: Stage) -> None:
    stage.executor()
    orders = [stage.order(f"t{n}") for n in range(200)]
    stage.write(*orders)
    until(lambda: len([r for r in stage.poll() if r.HasField("ended")]) >= 200, "200 ends", 60)
    ended = [r.try_key.task_id for r in stage.reports if r.HasField("ended")]
    assert sorted(ended) == sorted(order.try_key.task_id for order in orders)
    assert all(r.ended.outcome == c.OUTCOME_SUCCESS for r in stage.reports if r.HasField("ended"))
    grants = [
        record
        for n in range(stage.partitions)
        for record in stage.log.read_all("task_grants-spinner", n, uncommitted=True)
        if record.value
    ]
    assert len(grants) == 200


def test_a_log_is_followed_live_and_on_the_topic(stage: Stage, tmp_path: Path) -> None:
    process = stage.executor()
    stage.auto_tombstone = False
    order = stage.order("talks", stage.bundle(dag=TALKING.format(go=str(tmp_path / "go"))), "dag.py")
    stage.write(order)
    stage.wait(order, "started")
    stub = executor_pb2_grpc.ExecutorServiceStub(_channel(process))
    stream = stub.TailLog(executor_pb2.TailLogRequest(try_key=order.try_key, follow=True), timeout=30)
    assert next(stream).text == b"first line\n"
    assert stub.GetStatus(executor_pb2.GetStatusRequest()).live_tries == 1

    def chunks() -> list[TaskLogChunk]:
        records = [r for n in range(2) for r in stage.log.read_all("task_logs-spinner", n)]
        return [record.decode(TaskLogChunk) for record in records]

    until(chunks, "the first chunk, while it runs")
    (tmp_path / "go").touch()
    rest = list(stream)
    assert b"".join(answer.text for answer in rest) == b"last line\n"
    assert rest[-1].final
    stage.wait(order)
    until(lambda: chunks()[-1].final, "the final chunk")
    assert b"".join(chunk.text for chunk in chunks()) == b"first line\nlast line\n"
    with pytest.raises(grpc.RpcError) as error:
        next(stub.TailLog(executor_pb2.TailLogRequest(try_key=c.TryKey(dag_id="nobody"))))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_grpc_workers_use_the_same_handler_and_stale_tokens_are_refused(stage: Stage, tmp_path: Path) -> None:
    process = stage.executor()
    order = stage.order("talks", stage.bundle(dag=TALKING.format(go=str(tmp_path / "go"))), "dag.py")
    stage.write(order)
    stage.wait(order, "started")
    (record,) = (tmp_path / "data" / "tries").glob("*/*/worker-*.json")
    assert record.stat().st_mode & 0o077 == 0
    token = json.loads(record.read_text())["token"]
    stub = runtime_pb2_grpc.TaskRuntimeServiceStub(_channel(process))

    def metadata(text: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {text}"),)

    stub.SetXCom(rt.SetXComRequest(key="k", value_json=b"[1]"), metadata=metadata(token))
    answer = stub.GetXCom(rt.GetXComRequest(task_id="talks", key="k"), metadata=metadata(token))
    assert answer.values[0].value_json == b"[1]"
    for wrong, code in (
        (token[:-1] + ("0" if token[-1] != "0" else "1"), grpc.StatusCode.PERMISSION_DENIED),
        ("nobody.0.secret", grpc.StatusCode.PERMISSION_DENIED),
        ("nobody.77.secret", grpc.StatusCode.UNAVAILABLE),
    ):
        with pytest.raises(grpc.RpcError) as error:
            stub.Heartbeat(rt.HeartbeatRequest(), metadata=metadata(wrong))
        assert error.value.code() is code
    with pytest.raises(grpc.RpcError) as error:
        stub.Heartbeat(rt.HeartbeatRequest())
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
    (tmp_path / "go").touch()
    stage.wait(order)


def test_memory_limit_missing_bundle_and_bad_resources_have_their_own_ends(stage: Stage) -> None:
    stage.executor()
    eats = "def task(client, work):\n    data = bytearray(400 << 20)\n"
    limited = stage.order("eats", stage.bundle(dag=eats), "dag.py", resources_json='{"limit_memory": "300Mi"}')
    missing = stage.order("missing", c.BundleRef(name="b", version="1", object_key="bundles/b/1.tar.zst"), "dag.py")
    invalid = stage.order("invalid", resources_json='{"limit_memory": "much"}')
    stage.write(limited, missing, invalid)
    assert stage.wait(limited).ended.outcome == c.OUTCOME_OUT_OF_MEMORY
    ended = stage.wait(missing).ended
    assert ended.outcome == c.OUTCOME_LAUNCH_FAILED
    assert "bundles/b/1.tar.zst" in ended.message
    ended = stage.wait(invalid).ended
    assert ended.outcome == c.OUTCOME_LAUNCH_FAILED
    assert "much" in ended.message


def test_an_unreadable_order_goes_to_the_dead_letters_and_stops_nothing(stage: Stage) -> None:
    stage.executor()
    topic = "task_orders-spinner"
    stage.producer.send(Outgoing(topic, "d/r/bad/-1/1", None, raw=b"\xff\xff nonsense"))
    good = stage.order("good")
    stage.write(good)
    assert stage.wait(good).ended.outcome == c.OUTCOME_SUCCESS
    (letter,) = until(lambda: list(stage.log.read_all("dead_letters", 0)), "a dead letter")
    assert (letter.value, letter.headers["origin-topic"]) == (b"\xff\xff nonsense", topic)


def test_a_worker_without_heartbeat_is_lost_and_killed(stage: Stage, tmp_path: Path) -> None:
    import os
    import signal

    stage.executor(lost_after_seconds=1.5, heartbeat_seconds=0.3)
    order = stage.order("hangs", stage.bundle(dag=TALKING.format(go=str(tmp_path / "go"))), "dag.py")
    stage.write(order)
    stage.wait(order, "started")
    (record,) = (tmp_path / "data" / "tries").glob("*/*/worker-*.json")
    pid = json.loads(record.read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert stage.wait(order).ended.outcome == c.OUTCOME_LOST
    until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is killed")


def test_a_retry_starts_with_a_log_of_its_own_and_without_the_xcoms_of_the_earlier_try(stage: Stage) -> None:
    stage.executor()
    stage.store.put(f"xcom/d/{stage.run_id}/again/-1/old.json", b"1")
    bundle = stage.bundle(dag="def task(client, work):\n    print('try', work.order.try_key.try_number)\n")
    for number in (1, 2):
        order = stage.order("again", bundle, "dag.py", try_number=number)
        stage.write(order)
        ended = stage.wait(order).ended
        assert stage.log_of(ended) == f"try {number}\n".encode()
    assert not list(stage.store.list(f"xcom/d/{stage.run_id}/again/"))
    assert order.desired_state == o.DESIRED_STATE_RUNNING
