"""Real pods on a real node: how they end, what they may do, and that nobody else learns their token."""

from __future__ import annotations

import base64
import json

import psutil
import pytest
from node_stage import SHARED, NodeStage
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import until

SECONDS = 90.0
DAG_FILE = f"""
import os, pathlib, signal, subprocess, sys, time
from datetime import datetime, timezone
from spinner import DAG, Tier, task

SHARED = pathlib.Path({SHARED!r})
ACCESS = {{"team": {{"can_dag_read"}}}}

def note(name):
    with (SHARED / "began").open("a") as file:
        file.write(name + "\\n")

with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), tier=Tier.TIER1, access_control=ACCESS):
    @task
    def good():
        note("good")
        print("hello from", os.environ["SPINNER_POD"], "as", os.getuid())
        try:
            open("/etc/mine", "w")
        except OSError as error:
            print("root file system:", error.strerror)
        powers = ("CapEff", "NoNewPrivs", "Seccomp:")
        print([line for line in open("/proc/self/status") if line.startswith(powers)])
        return 42

    @task
    def fails():
        print("about to fail")
        raise ValueError("no such table")

    @task
    def hungry():
        note("hungry")
        x = b"x" * (1 << 30)

    @task
    def crashes():
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def waits():
        note("waits")
        while not (SHARED / "go").exists():
            time.sleep(0.05)

    @task
    def forks():
        note("forks")
        subprocess.Popen(["sleep", "4242"], start_new_session=True)
        stubborn = "trap : TERM; while :; do sleep 4243; done"
        subprocess.run(["bash", "-c", stubborn], start_new_session=True)

    @task
    def telltale():
        def read(path):
            try:
                return open(path, "rb").read().decode("utf-8", "replace")
            except OSError:
                return ""
        own = read("/proc/self/environ") + read("/proc/1/environ") + repr(dict(os.environ))
        own += read("/proc/self/cmdline") + read("/proc/1/cmdline")
        (SHARED / "telling").write_text(own)
        (SHARED / "telling").rename(SHARED / "told")
        while not (SHARED / "go").exists():
            time.sleep(0.05)

    good(); fails(); hungry(); crashes(); waits(); forks(); telltale()
"""


@pytest.fixture
def orders(stage: NodeStage):
    bundle = stage.bundle(dag=DAG_FILE)

    def make(task_id: str, **resources: object) -> o.TaskOrder:
        return stage.order(task_id, bundle, "dag.py", resources_json=json.dumps(resources))

    return make


def log_of(stage: NodeStage, ended) -> str:
    return stage.store.get(ended.log_key).decode()


def test_success_failure_memory_and_crash_are_told_apart(stage: NodeStage, orders) -> None:
    stage.executor()
    good, fails, crashes = orders("good"), orders("fails"), orders("crashes")
    hungry = orders("hungry", limit_memory="128Mi")
    stage.write(good, fails, crashes, hungry)

    end = stage.wait(good, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_SUCCESS, end.message
    log = log_of(stage, end)
    assert "as 50000" in log and "root file system: Read-only file system" in log
    assert "CapEff:\\t0000000000000000" in log and "NoNewPrivs:\\t1" in log and "Seccomp:\\t2" in log
    assert stage.store.get("xcom/d/" + good.try_key.run_id + "/good/-1/return_value.json") == b"42"
    assert end.usage.peak_memory_bytes > 1 << 20
    assert {c.STAGE_LAUNCH, c.STAGE_READINESS, c.STAGE_TASK_EXEC} <= {each.stage for each in end.stages}

    end = stage.wait(fails, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_FAILED and "no such table" in end.message
    assert "about to fail" in log_of(stage, end) and "Traceback" in log_of(stage, end)

    end = stage.wait(crashes, seconds=SECONDS).ended
    assert (end.outcome, end.exit_code) == (c.OUTCOME_CRASHED, 137)
    assert "last words" in log_of(stage, end)

    end = stage.wait(hungry, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_OUT_OF_MEMORY, end.message
    stage.nothing_left()


def test_a_pod_deleted_by_someone_says_so(stage: NodeStage, orders) -> None:
    stage.executor()
    order = orders("waits")
    stage.write(order)
    until(lambda: stage.seen("began") == ["waits"], "it runs", SECONDS)
    stage.node.kubectl("delete", "pods", "--all", "-n", stage.namespace, "--grace-period=5", "--wait=false")
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_DELETED, end.message
    stage.nothing_left()


def test_an_evicted_pod_says_so(stage: NodeStage, orders) -> None:
    stage.executor()
    order = orders("waits")
    stage.write(order)
    until(lambda: stage.seen("began") == ["waits"], "it runs", SECONDS)
    pod = stage.pod(order)
    assert pod is not None
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": stage.namespace}}
    stage.node.cluster.request("POST", f"/api/v1/namespaces/{stage.namespace}/pods/{name}/eviction", eviction)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_EVICTED
    stage.nothing_left()


def test_a_cancelled_pod_takes_every_process_along(stage: NodeStage, orders) -> None:
    stage.executor()
    order = orders("forks")
    stage.write(order)
    until(lambda: running("sleep 4242") and running("sleep 4243"), "it has children", SECONDS)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: not running("sleep 424"), "no process of it is left", SECONDS)
    stage.nothing_left()


def running(command: str) -> list[str]:
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if line.startswith(command)]


def test_nobody_but_the_worker_learns_the_token(stage: NodeStage, orders) -> None:
    stage.executor()
    order = orders("telltale")
    stage.write(order)
    until(lambda: stage.seen("told"), "it told what it sees", SECONDS)
    pod = stage.pod(order)
    assert pod is not None
    name = pod["metadata"]["name"]
    secret = stage.node.cluster.request("GET", f"/api/v1/namespaces/{stage.namespace}/secrets/{name}")
    proof = base64.b64decode(secret["data"]["token"]).decode().rpartition(".")[2]
    assert len(proof) >= 32
    assert proof not in stage.node.kubectl("describe", "pod", name, "-n", stage.namespace)
    assert proof not in json.dumps(pod)
    told = (stage.shared / "told").read_text()
    assert "SPINNER_POD" in told and proof not in told  # its environment and arguments, and process 1's
    (stage.shared / "go").touch()
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_SUCCESS, end.message
    assert proof not in log_of(stage, end)
    stage.nothing_left()
