"""A worker that shares no files with its executor: finds the owner, fetches the bundle, installs packages."""

from __future__ import annotations

import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import zstandard
from spinner.runtime.local_frames import METHODS
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.runtime.v1 import runtime_pb2 as pb
from spinner_proto.runtime.v1.runtime_pb2_grpc import (
    TaskRuntimeServiceServicer,
    add_TaskRuntimeServiceServicer_to_server,
)

HEADER = """
from datetime import datetime, UTC
from spinner import *
import pathlib, time
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=UTC), tier=1, access_control={"x": {"can_dag_read"}}):
    @task
    def t():
"""


class Owner:
    """An executor's gRPC side over a FakeExecutor; one that owns the try, or one that doesn't."""

    def __init__(self, executor, owns: bool = True) -> None:
        self.log = bytearray()
        self.calls: list[str] = []
        self.owns = owns
        self.beaten = threading.Event()

        class Servicer(TaskRuntimeServiceServicer):
            pass

        def handler(name):
            def handle(_, request, context):
                self.calls.append(name)
                if not self.owns:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "another executor owns it")
                if name == "Heartbeat":
                    self.beaten.set()
                return getattr(executor, f"_on_{name}")(request)

            return handle

        def push_log(_, request, context):
            if not self.owns:
                context.abort(grpc.StatusCode.UNAVAILABLE, "another executor owns it")
            if request.offset <= len(self.log):
                self.log.extend(request.text[len(self.log) - request.offset :])
            return pb.PushLogResponse(next_offset=len(self.log))

        for name in METHODS:
            setattr(Servicer, name, handler(name))
        Servicer.PushLog = push_log
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        add_TaskRuntimeServiceServicer_to_server(Servicer(), self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()


@pytest.fixture
def owners(executor):
    made: list[Owner] = []

    def make(owns: bool = True) -> Owner:
        made.append(Owner(executor, owns))
        return made[-1]

    yield make
    for owner in made:
        owner.server.stop(None)


@pytest.fixture
def store():
    """A web server of packed bundles: path → bytes, and how often each was fetched."""
    objects: dict[str, bytes] = {}
    fetched: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            content = objects.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", objects, fetched
    server.shutdown()
    server.server_close()


def packed(files: dict[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return zstandard.ZstdCompressor().compress(raw.getvalue())


def worker(executor, addresses: str, **variables: str) -> subprocess.Popen[str]:
    token_file = executor.folder / "token"
    token_file.write_text("good")
    environment = {
        "PATH": os.environ["PATH"], "SPINNER_RUNTIME_ADDRESS": addresses, "SPINNER_TOKEN_FILE": str(token_file),
        "SPINNER_CACHE": str(executor.folder / "cache"), "SPINNER_POD": "pod", **variables,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "spinner.runtime"], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def order_of(executor, source: str, **work: object) -> None:
    executor.write("dags/d.py", HEADER + "".join(f"        {line}\n" for line in source.splitlines()) + "    t()\n")
    executor._work = pb.GetWorkResponse(
        order=executor.order("t"), lease_seconds=20, heartbeat_seconds=0.2,
        **{"bundle_path": str(executor.bundle), **work},
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    return output


def test_the_owner_is_found_among_others(executor, owners):
    order_of(executor, "print('hello')")
    gone, other, owner = owners(), owners(owns=False), owners()
    gone.server.stop(None).wait()
    output = finished(worker(executor, f"{gone.address},{other.address},{owner.address}"))
    assert executor._finish.ended.outcome == common.OUTCOME_SUCCESS, output
    assert b"hello" in owner.log


def test_a_next_owner_is_found_while_user_code_runs_and_gets_the_whole_log(executor, owners, tmp_path):
    go_on = tmp_path / "go-on"
    order_of(executor, f"print('early')\nwhile not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.02)")
    first, second = owners(), owners(owns=False)
    process = worker(executor, f"{first.address},{second.address}")
    assert first.beaten.wait(30)
    first.owns, second.owns = False, True
    assert second.beaten.wait(30)
    go_on.touch()
    output = finished(process)
    assert executor._finish.ended.outcome == common.OUTCOME_SUCCESS, output
    assert b"early" in second.log and second.log.decode() == output


def test_a_bundle_is_fetched_once_a_version(executor, owners, store):
    url, objects, fetched = store
    owner = owners()
    order_of(executor, "pass")
    file = "dags/d.py"
    objects["/b1"] = packed({file: (executor.bundle / file).read_text().replace("pass", "print('from the store')")})
    order = executor.order("t")
    order.bundle.name, order.bundle.version, order.bundle.object_key = "dags", "v1", "bundles/dags/v1.tar.zst"
    executor._work = pb.GetWorkResponse(order=order, lease_seconds=20, bundle_url=f"{url}/b1")
    for _ in range(2):
        assert finished(worker(executor, owner.address)).count("from the store") == 1
        assert executor._finish.ended.outcome == common.OUTCOME_SUCCESS
    assert fetched == ["/b1"]


def test_a_bundle_that_is_gone_is_a_configuration_error_that_names_it(executor, owners, store):
    owner = owners()
    order_of(executor, "pass")
    order = executor.order("t")
    order.bundle.name, order.bundle.version, order.bundle.object_key = "dags", "v9", "bundles/dags/v9.tar.zst"
    executor._work = pb.GetWorkResponse(order=order, lease_seconds=20, bundle_url=f"{store[0]}/none")
    output = finished(worker(executor, owner.address))
    assert executor._finish.ended.outcome == common.OUTCOME_CONFIG_ERROR
    assert "bundles/dags/v9.tar.zst" in executor._finish.ended.message and "404" in executor._finish.ended.message
    assert "{ReadinessStage} INFO" in output  # a failed check shows its lines


def test_lines_of_the_readiness_check_are_hidden_when_it_succeeds(executor, owners):
    owner = owners()
    order_of(executor, "pass", readiness=[pb.ReadinessCheck(name="object store", ready=True)],
             readiness_addresses=[f"database={owner.address}"])  # fmt: skip
    output = finished(worker(executor, owner.address))
    assert executor._finish.ended.outcome == common.OUTCOME_SUCCESS
    assert "ReadinessStage" not in output
    stages = {stage.stage: stage.outcome for stage in executor._finish.ended.stages}
    assert stages[common.STAGE_READINESS] == common.STAGE_OUTCOME_SUCCESS


def test_what_is_not_ready_ends_the_try_before_user_code(executor, owners):
    owner = owners()
    order_of(executor, "print('user code')",
             readiness=[pb.ReadinessCheck(name="object store", message="no answer in 5 s")],
             readiness_addresses=["database=127.0.0.1:1"])  # fmt: skip
    output = finished(worker(executor, owner.address))
    ended = executor._finish.ended
    assert ended.outcome == common.OUTCOME_CONFIG_ERROR and "user code" not in output
    assert "object store: no answer in 5 s" in ended.message and "database: 127.0.0.1:1" in ended.message
    assert "{ReadinessStage} ERROR" in output


def wheel(folder: Path, name: str, version: str, body: str, requires: str = "") -> None:
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{information}/METADATA", metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")


def test_packages_are_installed_once_and_seen_by_children(executor, owners, tmp_path):
    owner, wheels = owners(), tmp_path / "wheels"
    wheel(wheels, "spinnertestwheel", "1.5", "VALUE = 15")
    order_of(executor, "import subprocess, sys, spinnertestwheel\nprint('found', spinnertestwheel.VALUE)\n"
             "subprocess.run([sys.executable, '-c', 'import spinnertestwheel; print(\"child\", "
             "spinnertestwheel.VALUE)'], check=True)")  # fmt: skip
    executor.write("requirements.txt", "# what we need\nspinnertestwheel>=1\n")
    executor._work.order.resources_json = '{"requirements": "requirements.txt"}'
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    for _ in range(2):
        output = finished(worker(executor, owner.address, **variables))
        assert "found 15" in output and "child 15" in output
        for file in wheels.iterdir():
            file.unlink()  # the second worker has only the cache


def test_packages_that_contradict_the_worker_are_refused_with_pips_reason(executor, owners, tmp_path):
    owner, wheels = owners(), tmp_path / "wheels"
    wheel(wheels, "spinnertestwheel", "1.5", "", requires="jinja2<1")
    order_of(executor, "pass")
    executor._work.order.resources_json = '{"packages": ["spinnertestwheel"]}'
    finished(worker(executor, owner.address, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels)))
    ended = executor._finish.ended
    assert ended.outcome == common.OUTCOME_CONFIG_ERROR and "jinja2" in ended.message


@pytest.mark.parametrize(("cancelled", "outcome"), [(True, "KILLED_BY_USER"), (False, "DELETED")])
def test_a_pod_that_is_told_to_end_says_whether_a_user_wanted_it(executor, owners, cancelled, outcome):
    owner = owners()
    order_of(executor, "time.sleep(60)")
    executor.cancel_when = lambda: cancelled
    process = worker(executor, owner.address)
    assert owner.beaten.wait(30)
    if not cancelled:
        process.send_signal(signal.SIGTERM)
    finished(process)
    assert common.Outcome.Name(executor._finish.ended.outcome) == f"OUTCOME_{outcome}"
