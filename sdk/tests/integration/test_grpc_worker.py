"""``python -m spinner.runtime`` over gRPC: the same handler, the token, and the log through PushLog."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent import futures

import grpc
import pytest
from spinner.runtime.local_frames import METHODS
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.runtime.v1 import runtime_pb2 as pb
from spinner_proto.runtime.v1.runtime_pb2_grpc import (
    TaskRuntimeServiceServicer,
    add_TaskRuntimeServiceServicer_to_server,
)

SOURCE = """
from datetime import datetime, UTC
from spinner import *
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=UTC), tier=1, access_control={"x": {"can_dag_read"}}):
    @task
    def t():
        for number in range(3000):
            print("line", number, "ä")
        return [1]
    t()
"""


@pytest.fixture
def server(executor):
    log = bytearray()

    class Servicer(TaskRuntimeServiceServicer):
        pass

    def handler(name):
        def handle(self, request, context):
            if dict(context.invocation_metadata()).get("authorization") != "Bearer good":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "stale token")
            try:
                return getattr(executor, f"_on_{name}")(request)
            except PermissionError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

        return handle

    def push_log(self, request, context):
        fresh = request.text[max(0, len(log) - request.offset) :]
        log.extend(fresh)
        return pb.PushLogResponse(next_offset=len(log))

    for name in METHODS:
        setattr(Servicer, name, handler(name))
    Servicer.PushLog = push_log
    grpc_server = grpc.server(futures.ThreadPoolExecutor(4))
    add_TaskRuntimeServiceServicer_to_server(Servicer(), grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    executor.write("dags/d.py", SOURCE)
    executor._work = pb.GetWorkResponse(order=executor.order("t"), bundle_path=str(executor.bundle), lease_seconds=20)
    yield f"127.0.0.1:{port}", log
    grpc_server.stop(None)


def work(executor, address: str, token: str) -> subprocess.CompletedProcess[str]:
    token_file = executor.folder / "token"
    token_file.write_text(token + "\n")
    environment = {
        "PATH": os.environ["PATH"], "SPINNER_RUNTIME_ADDRESS": address, "SPINNER_TOKEN_FILE": str(token_file),
        "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "spinner.runtime"], env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_try_over_grpc_with_its_whole_log(executor, server):
    address, log = server
    done = work(executor, address, "good")
    assert done.returncode == 0, done.stdout
    assert executor._finish.ended.outcome == common.OUTCOME_SUCCESS
    assert executor.xcom("t") == [1]
    text = log.decode()
    assert [line for line in text.splitlines() if line.startswith("line ")] == [f"line {n} ä" for n in range(3000)]
    assert "{TaskExecStage} INFO" in text


def test_a_stale_token_and_a_refused_start(executor, server):
    address, _ = server
    assert work(executor, address, "bad").returncode == 75
    executor.refuse_start = True
    assert work(executor, address, "good").returncode == 76
    assert executor._finish is None


def test_without_settings_it_says_what_it_needs():
    done = subprocess.run([sys.executable, "-m", "spinner.runtime"], env={}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "SPINNER_RUNTIME_ADDRESS" in done.stderr
