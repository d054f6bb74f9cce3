"""Real pods on a real node: how they end, what they may do, and that nobody else learns their token."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import psutil
import pytest
from node_place import NodePlace
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_servers import cgroups
from stage import Stage, until

SECONDS = 180.0
PODS = 100
DAG_FILE = """
import os, pathlib, signal, subprocess, sys, time
from datetime import datetime, timedelta, timezone
from spinner import DAG, Tier, task
from spinner.exceptions import RescheduleTask

SHARED = pathlib.Path(%r)
ACCESS = {"team": {"can_dag_read"}}

def seen_before(name):
    before = (SHARED / name).exists()
    (SHARED / name).touch()
    return before

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

    @task
    def imports():
        import spinnertestwheel
        print(spinnertestwheel.VALUE)

    @task
    def twice():
        if not seen_before("twice"):
            print("the first part")
            raise RescheduleTask(datetime.now(timezone.utc) + timedelta(seconds=1))
        print("the second part")

    @task
    def many(name):
        print("hello from", name)
        note(name)
        time.sleep(1)

    for n in range(100):
        many.override(task_id=f"many{n}")(f"many{n}")
    twice(); imports(); good(); fails(); hungry(); crashes(); waits(); forks(); telltale()
"""


pytestmark = pytest.mark.kubernetes


@pytest.fixture
def place(node_place: NodePlace) -> NodePlace:
    return node_place


class Orders:
    """Orders of the DAG above."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._bundle = stage.bundle(dag=DAG_FILE % str(stage.folder))

    def __call__(self, task_id: str, **resources: object) -> o.TaskOrder:
        return self._stage.order(task_id, self._bundle, "dag.py", resources_json=json.dumps(resources))


@pytest.fixture
def orders(stage: Stage) -> Orders:
    return Orders(stage)


def seen(stage: Stage, name: str = "began") -> list[str]:
    """Words that tasks wrote to a file of the shared folder."""
    file = stage.folder / name
    return file.read_text().split() if file.exists() else []


def nothing_left(place: NodePlace) -> None:
    until(lambda: not place.left(), "pods and tokens are removed", SECONDS)


def log_of(stage: Stage, ended: TaskEnded) -> str:
    return stage.log_of(ended).decode()


def test_success_failure_memory_and_crash_are_told_apart(stage: Stage, orders: Orders, place: NodePlace) -> None:
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
    assert 20 << 20 < end.usage.peak_memory_bytes < 1 << 30
    assert 0.05 < end.usage.cpu_seconds < SECONDS
    assert {c.STAGE_LAUNCH, c.STAGE_READINESS, c.STAGE_TASK_EXEC} <= {each.stage for each in end.stages}

    end = stage.wait(fails, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_FAILED and "no such table" in end.message
    assert "about to fail" in log_of(stage, end) and "Traceback" in log_of(stage, end)

    end = stage.wait(crashes, seconds=SECONDS).ended
    assert (end.outcome, end.exit_code) == (c.OUTCOME_CRASHED, 137)
    assert "last words" in log_of(stage, end)

    end = stage.wait(hungry, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_OUT_OF_MEMORY, end.message
    nothing_left(place)


def test_a_pod_that_the_kernel_kills_for_its_nodes_memory_says_so(
    stage: Stage, orders: Orders, place: NodePlace, request: pytest.FixtureRequest
) -> None:
    """Pods without requests share a control group; what it may use is what the node has left for them."""
    shared = f"{place.node.pods}/besteffort"
    # Nothing of a worker runs while it takes one large piece of memory, which is slow where memory is.
    stage.executor(lost_after_seconds=SECONDS)
    order = orders("hungry")
    request.addfinalizer(lambda: cgroups.limit_memory(shared, None))
    cgroups.limit_memory(shared, 192 << 20)
    stage.write(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_NODE_OUT_OF_MEMORY, end.message
    assert "limit of its own" in end.message and seen(stage) == ["hungry"]
    nothing_left(place)


def test_a_pod_deleted_by_someone_says_so(stage: Stage, orders: Orders, place: NodePlace) -> None:
    stage.executor()
    order = orders("waits")
    stage.write(order)
    until(lambda: seen(stage) == ["waits"], "it runs", SECONDS)
    place.node.kubectl("delete", "pods", "--all", "-n", place.namespace, "--grace-period=5", "--wait=false")
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_DELETED, end.message
    nothing_left(place)


def test_an_evicted_pod_says_so(stage: Stage, orders: Orders, place: NodePlace) -> None:
    stage.executor()
    order = orders("waits")
    stage.write(order)
    until(lambda: seen(stage) == ["waits"], "it runs", SECONDS)
    pod = place.pod_of(order)
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": place.namespace}}
    place.cluster.request("POST", f"/api/v1/namespaces/{place.namespace}/pods/{name}/eviction", eviction)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_EVICTED
    nothing_left(place)


def test_a_cancelled_pod_takes_every_process_along(stage: Stage, orders: Orders, place: NodePlace) -> None:
    stage.executor()
    order = orders("forks")
    stage.write(order)
    until(lambda: running("sleep 4242") and running("sleep 4243"), "it has children", SECONDS)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: not running("sleep 424"), "no process of it is left", SECONDS)
    nothing_left(place)


def running(command: str) -> list[str]:
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if line.startswith(command)]


def test_nobody_but_the_worker_learns_the_token(stage: Stage, orders: Orders, place: NodePlace) -> None:
    stage.executor()
    order = orders("telltale")
    stage.write(order)
    until(lambda: seen(stage, "told"), "it told what it sees", SECONDS)
    pod = place.pod_of(order)
    name = pod["metadata"]["name"]
    proof = place.token_of(order).rpartition(".")[2]
    assert len(proof) >= 32
    assert proof not in place.node.kubectl("describe", "pod", name, "-n", place.namespace)
    assert proof not in json.dumps(pod)
    told = (stage.folder / "told").read_text()
    assert "SPINNER_POD" in told and proof not in told  # its environment and arguments, and process 1's
    (stage.folder / "go").touch()
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_SUCCESS, end.message
    assert proof not in log_of(stage, end)
    nothing_left(place)


def test_each_segment_of_a_try_is_a_pod_and_the_log_has_them_all(
    stage: Stage, orders: Orders, place: NodePlace
) -> None:
    stage.executor()
    order = orders("twice")
    stage.write(order)
    stage.wait(order, "rescheduled", SECONDS)
    order.segment = 1
    stage.write(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_SUCCESS, end.message
    log = log_of(stage, end)
    assert log.count("the first part") == log.count("the second part") == 1
    assert log.index("the first part") < log.index("the second part")
    assert log.index("The next question is at") < log.index("the second part")
    nothing_left(place)


def wheel(folder: Path, name: str, body: str) -> None:
    information = f"{name}-1.0.dist-info"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")


def test_packages_and_bundles_are_kept_in_a_shared_cache(stage: Stage, orders: Orders, place: NodePlace) -> None:
    cache, wheels = stage.folder / "cache", stage.folder / "wheels"
    cache.mkdir()
    cache.chmod(0o777)
    wheel(wheels, "spinnertestwheel", "VALUE = 'from the wheel'")
    stage.executor(kubernetes_cache=json.dumps({"hostPath": {"path": str(cache)}}))
    asked = {"packages": ["spinnertestwheel==1.0"], "env": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}}
    for run_id in ("first", "second"):
        order = orders("imports", **asked)
        order.try_key.run_id = run_id
        stage.write(order)
        end = stage.wait(order, seconds=SECONDS).ended
        assert end.outcome == c.OUTCOME_SUCCESS, end.message
        assert "from the wheel" in log_of(stage, end)
        shutil.rmtree(wheels, ignore_errors=True)  # the second pod has the cache alone
        for stored in stage.store.list("bundles/"):
            stage.store.delete(stored.key)


def test_what_is_not_ready_keeps_user_code_from_running(stage: Stage, orders: Orders) -> None:
    stage.executor(executor_readiness='["database=127.0.0.1:1"]')
    order = orders("good")
    stage.write(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_CONFIG_ERROR and "database: 127.0.0.1:1" in end.message
    assert "{ReadinessStage} ERROR" in log_of(stage, end) and not seen(stage)


def test_the_role_that_is_shipped_is_enough(
    stage: Stage, orders: Orders, place: NodePlace, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An executor with no more than the account of infra/kubernetes runs, ends and cleans up pods."""
    manifests = Path(__file__).parents[4] / "infra" / "kubernetes"
    manifest = manifests / "executor.yaml"
    place.node.kubectl("apply", "-f", str(manifest))
    place.node.kubectl("apply", "--dry-run=server", "-f", str(manifests / "triggerer.yaml"))
    request.addfinalizer(lambda: place.node.kubectl("delete", "--wait=false", "-f", str(manifest)))
    account = ("create", "token", "spinner-executor", "-n", "spinner-spinner")
    config = json.loads(place.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": place.node.kubectl(*account).strip()}
    kubeconfig = tmp_path / "executor.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    stage.executor(kubernetes_config=kubeconfig, kubernetes_namespace="spinner-spinner")
    good, crashes = orders("good"), orders("crashes")
    stage.write(good, crashes)
    assert stage.wait(good, seconds=SECONDS).ended.outcome == c.OUTCOME_SUCCESS
    end = stage.wait(crashes, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_CRASHED and "last words" in log_of(stage, end)
    pods = "/api/v1/namespaces/spinner-spinner/pods"
    until(lambda: not place.cluster.request("GET", pods)["items"], "pods are removed", SECONDS)
    logs = "".join(file.read_text() for file in stage.folder.glob("executor-*.log"))
    assert "forbidden" not in logs.lower() and "administrator must" not in logs


@pytest.mark.timeout(1500)
def test_a_hundred_pods_survive_a_kill_of_their_executor(stage: Stage, orders: Orders, place: NodePlace) -> None:
    """The next executor has another disk, as one on another machine: it adopts pods, and asks them for their logs."""
    first = stage.executor()
    wanted = [orders(f"many{n}") for n in range(PODS)]
    stage.write(*wanted)
    until(lambda: len(seen(stage)) >= PODS // 4, "some of them run", 600)
    first.kill()
    first.wait()
    names = {pod["metadata"]["uid"] for pod in place.pods()}
    stage.executor(data="another-disk")
    for order in wanted:
        end = stage.wait(order, seconds=600).ended
        assert end.outcome == c.OUTCOME_SUCCESS, end.message
        assert f"hello from {order.try_key.task_id}" in log_of(stage, end)
    assert sorted(seen(stage)) == sorted(f"many{n}" for n in range(PODS))
    assert len(names) >= PODS // 4
    nothing_left(place)
