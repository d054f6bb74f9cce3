"""Every ending of a pod on a real API is reported with its own code, and what it waits for is told meanwhile.

The nodes are simulated; evictions, preemptions, quotas and scheduling are Kubernetes' own. One executor serves all.
"""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from kubelet import token_of
from places import make_namespace
from spinner_executor.domain import podnames
from spinner_executor.domain.keys import try_key_text
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1 import inbox_pb2 as i
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_proto.runtime.v1 import runtime_pb2_grpc
from spinner_servers.kubernetes import Cluster
from spinner_servers.process import free_port
from stage import Stage, until

SECONDS = 60.0
LOST_AFTER = 4.0


class Scene:
    def __init__(self, cluster: Cluster, kafka: str, folder: Path) -> None:
        self.cluster = cluster
        self.stage = Stage(kafka, folder)
        self.namespace = f"endings-{self.stage.prefix.strip('.')}"
        self.path = f"/api/v1/namespaces/{self.namespace}/pods"
        self.address = f"127.0.0.1:{free_port()}"
        make_namespace(cluster, self.namespace, "type=kwok")
        self.stage.settings |= {
            "executor_backend": "kubernetes",
            "kubernetes_config": str(cluster.kubeconfig),
            "kubernetes_namespace": self.namespace,
            "kubernetes_image_seconds": 2,
            "kubernetes_pending_seconds": 5,
            "lost_after_seconds": 3600,
        }
        self.stage.addresses = [self.address]

    def start(self) -> None:
        self.executor = self.stage.executor()

    def order(self, task_id: str, **more: object) -> o.TaskOrder:
        order = self.stage.order(task_id, **more)
        self.stage.write(order)
        return order

    def name(self, order: o.TaskOrder) -> str:
        return podnames.pod_name(order.try_key, try_key_text(order.try_key), order.segment)

    def pod(self, order: o.TaskOrder) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.cluster.request("GET", f"{self.path}/{self.name(order)}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found

    def phase(self, order: o.TaskOrder) -> str:
        return (self.pod(order) or {"status": {"phase": ""}})["status"]["phase"]

    def running(self, task_id: str, **more: object) -> o.TaskOrder:
        order = self.order(task_id, **more)
        until(lambda: self.phase(order) == "Running", f"{task_id} runs", SECONDS)
        return order

    def says(self, order: o.TaskOrder, status: dict[str, Any]) -> None:
        """What a kubelet would write."""
        path = f"{self.path}/{self.name(order)}/status"
        self.cluster.request("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")

    def started(self, order: o.TaskOrder) -> None:
        """The worker asks for its work and its start, as it would in its container."""
        found: Any = until(lambda: self.pod(order), "the pod is there", SECONDS)
        self.calls(token_of(self.cluster, found))

    def calls(self, token: str) -> None:
        with grpc.insecure_channel(self.address) as channel:
            stub = runtime_pb2_grpc.TaskRuntimeServiceStub(channel)
            call = {"metadata": (("authorization", f"Bearer {token}"),), "timeout": 20.0, "wait_for_ready": True}
            stub.GetWork(rt.GetWorkRequest(), **call)
            stub.Start(rt.StartRequest(), **call)

    def end(self, order: o.TaskOrder) -> i.TaskEnded:
        return self.stage.wait(order, seconds=SECONDS).ended

    def close(self) -> None:
        self.stage.close()
        self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


@pytest.fixture(scope="module")
def scene(kubernetes_api: Cluster, kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(kubernetes_api, kafka_bootstrap, tmp_path_factory.mktemp("endings"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def ended(code: int, reason: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": state}]}


@pytest.mark.parametrize(
    ("task_id", "status", "outcome", "words"),
    [
        ("oom", ended(137, "OOMKilled"), c.OUTCOME_OUT_OF_MEMORY, "memory limit"),
        ("unlimited", ended(137, "OOMKilled"), c.OUTCOME_NODE_OUT_OF_MEMORY, "node's memory ran out"),
        ("crash", ended(139, "Error"), c.OUTCOME_CRASHED, "SIGSEGV"),
        ("lease", ended(75, "Error"), c.OUTCOME_LOST, "lease"),
        ("start", ended(128, "StartError"), c.OUTCOME_CONFIG_ERROR, "StartError"),
        (
            "node-oom",
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            c.OUTCOME_NODE_OUT_OF_MEMORY,
            "low on resource: memory",
        ),
        (
            "disk",
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            c.OUTCOME_EVICTED,
            "ephemeral-storage",
        ),
        (
            "deadline",
            {"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"},
            c.OUTCOME_TIMED_OUT,
            "active too long",
        ),
    ],
)
def test_what_the_kubelet_says(scene: Scene, task_id: str, status: dict[str, Any], outcome: int, words: str) -> None:
    order = scene.running(task_id, resources_json="{}" if task_id == "unlimited" else '{"limit_memory": "1Gi"}')
    scene.started(order)
    scene.says(order, status)
    end = scene.end(order)
    assert end.outcome == outcome
    assert words in end.message
    until(lambda: scene.pod(order) is None, "its pod is removed once the end is recorded", SECONDS)


def test_a_kubelet_that_says_only_in_the_end_why_it_killed_a_worker(scene: Scene) -> None:
    order = scene.running("slow-words")
    scene.started(order)
    scene.says(order, ended(137, "Error") | {"phase": "Running"})
    scene.says(order, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
    assert scene.end(order).outcome == c.OUTCOME_NODE_OUT_OF_MEMORY


def test_a_killed_worker_whose_pod_goes_on_has_crashed(scene: Scene) -> None:
    order = scene.running("goes-on")
    scene.started(order)
    scene.says(order, ended(137, "Error") | {"phase": "Running"})
    assert scene.end(order).outcome == c.OUTCOME_CRASHED


def test_a_pod_deleted_by_someone(scene: Scene) -> None:
    order = scene.running("deleted")
    scene.started(order)
    scene.cluster.request("DELETE", f"{scene.path}/{scene.name(order)}")
    end = scene.end(order)
    assert end.outcome == c.OUTCOME_DELETED
    assert "deleted by someone" in end.message


def test_a_drained_node_evicts(scene: Scene) -> None:
    order = scene.running("drained")
    scene.started(order)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": scene.name(order)}}
    scene.cluster.request("POST", f"{scene.path}/{scene.name(order)}/eviction", eviction)
    assert scene.end(order).outcome == c.OUTCOME_EVICTED


def test_a_more_important_tier_preempts(scene: Scene) -> None:
    large = json.dumps({"request_memory": "250Gi"})
    modest = [scene.running(f"modest{n}", tier=3, resources_json=large) for n in range(4)]
    important = scene.running("important", tier=1, resources_json=large)
    victim = until(lambda: [order for order in modest if scene.stage.of(order, "ended")], "one makes room", SECONDS)[0]
    end = scene.end(victim)
    assert end.outcome == c.OUTCOME_PREEMPTED
    assert "reempt" in end.message
    for order in [important, *modest]:
        scene.stage.tombstone(order)


def test_a_pod_that_fits_nowhere_says_why_and_is_given_up(scene: Scene) -> None:
    order = scene.order("giant", resources_json=json.dumps({"request_memory": "9000Gi"}))
    reason = scene.stage.wait(order, "pending", SECONDS).pending.reason
    until(lambda: any("Insufficient memory" in r.pending.reason for r in scene.stage.of(order, "pending")), reason)
    end = scene.end(order)
    assert end.outcome == c.OUTCOME_NEVER_SCHEDULED
    assert "Insufficient memory" in end.message


def test_an_image_that_cannot_be_pulled(scene: Scene) -> None:
    order = scene.order("image", resources_json=json.dumps({"request_memory": "9000Gi"}))  # stays pending
    until(lambda: scene.pod(order), "its pod is there", SECONDS)
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    scene.says(order, {"phase": "Pending", "containerStatuses": [{"name": "worker", "state": state}]})
    end = scene.end(order)
    assert end.outcome == c.OUTCOME_IMAGE_PULL_FAILED
    assert "Back-off pulling image" in end.message


def test_a_quota_is_waited_for(scene: Scene) -> None:
    path = f"/api/v1/namespaces/{scene.namespace}/resourcequotas"
    scene.cluster.request("POST", path, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    until(lambda: "used" in scene.cluster.request("GET", f"{path}/none").get("status", {}), "the quota counts", SECONDS)
    order = scene.order("squeezed")
    assert "exceeded quota" in scene.stage.wait(order, "pending", SECONDS).pending.reason
    scene.cluster.request("DELETE", f"{path}/none")
    until(lambda: scene.phase(order) == "Running", "it runs once there is room", SECONDS)
    scene.stage.tombstone(order)


def test_many_that_wait_for_a_quota_ask_one_after_the_other(scene: Scene) -> None:
    path = f"/api/v1/namespaces/{scene.namespace}/resourcequotas"
    scene.cluster.request("POST", path, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}})
    until(lambda: "used" in scene.cluster.request("GET", f"{path}/few").get("status", {}), "the quota counts", SECONDS)
    orders = [scene.order(f"queue{n}") for n in range(8)]
    until(lambda: sum(scene.phase(order) == "Running" for order in orders) == 2, "two have room", SECONDS)
    waiting = [order for order in orders if not scene.pod(order)]
    waiting[0].desired_state = o.DESIRED_STATE_CANCELLED
    scene.stage.write(waiting[0])
    assert scene.end(waiting[0]).outcome == c.OUTCOME_KILLED_BY_USER
    scene.cluster.request("DELETE", f"{path}/few")
    until(lambda: sum(scene.phase(order) == "Running" for order in orders) == 7, "all others run", SECONDS)
    for order in orders:
        scene.stage.tombstone(order)


def test_what_happened_while_no_executor_watched(scene: Scene) -> None:
    granted, waiting = scene.running("granted"), scene.running("waiting")
    scene.started(granted)
    scene.executor.kill()
    scene.executor.wait()
    uid = (scene.pod(waiting) or {})["metadata"]["uid"]
    for order in (granted, waiting):
        scene.cluster.request("DELETE", f"{scene.path}/{scene.name(order)}")
        until(lambda order=order: scene.pod(order) is None, "it is gone", SECONDS)
    scene.executor = scene.stage.executor()
    assert scene.end(granted).outcome == c.OUTCOME_DELETED
    # Nothing of it had started, so it is simply made again.
    until(lambda: scene.phase(waiting) == "Running", "it runs", SECONDS)
    assert (scene.pod(waiting) or {})["metadata"]["uid"] != uid
    scene.stage.tombstone(waiting)


def test_a_node_that_is_gone_takes_its_workers_along(scene: Scene) -> None:
    scene.executor.kill()
    scene.executor.wait()
    scene.stage.settings["lost_after_seconds"] = LOST_AFTER
    node = f"lost-{scene.namespace}"
    room = {"cpu": "1", "memory": "9500Gi", "pods": "10"}
    labels = {"type": "kwok"}
    body = {"metadata": {"name": node, "labels": labels}, "status": {"allocatable": room, "capacity": room}}
    scene.cluster.request("POST", "/api/v1/nodes", body)
    scene.executor = scene.stage.executor()
    # Only that node is large enough.
    order = scene.order("stranded", resources_json=json.dumps({"request_memory": "9000Gi"}))
    try:
        until(lambda: scene.phase(order) == "Running", "it runs", SECONDS)
        scene.started(order)
    finally:
        scene.cluster.request("DELETE", f"/api/v1/nodes/{node}")
    end = scene.end(order)
    assert end.outcome == c.OUTCOME_NODE_LOST
    assert node in end.message


def test_only_a_token_that_the_cluster_gave_to_this_very_pod_is_taken(scene: Scene) -> None:
    order = scene.running("proven")
    pod: Any = scene.pod(order)
    genuine = token_of(scene.cluster, pod)
    claims = jwt.decode(genuine, options={"verify_signature": False})
    key = rsa.generate_private_key(65537, 2048)
    forged = jwt.encode(claims, key, "RS256", {"kid": jwt.get_unverified_header(genuine)["kid"]})
    unsigned = jwt.encode(claims, None, "none", {"kid": jwt.get_unverified_header(genuine)["kid"]})
    for token in (forged, unsigned):
        with pytest.raises(grpc.RpcError) as refused:
            scene.calls(token)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    scene.says(order, ended(0, "Completed"))
    assert "before it started user code" in scene.end(order).message

    other = scene.running("another")
    scene.calls(token_of(scene.cluster, scene.pod(other)))
    again = scene.running("proven-again")
    scene.calls(token_of(scene.cluster, scene.pod(again)))
    for order in (other, again):
        scene.says(order, ended(139, "Error"))
        assert scene.end(order).outcome == c.OUTCOME_CRASHED
