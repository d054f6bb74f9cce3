"""A real node runs pods: as nobody, on a read-only file system, with logs; and leaves nothing behind."""

from __future__ import annotations

import json
import time

import pytest
from spinner_servers import cgroups, worker_image
from spinner_servers import kubernetes_node as server
from spinner_servers.kubernetes_node import Node

pytestmark = pytest.mark.kubernetes
HARDENED = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def run_pod(node: Node, name: str, script: str, memory: str = "128Mi") -> dict[str, object]:
    """Runs a Python script in a pod; returns the state in which its container ended."""
    container = {
        "name": "main",
        "image": worker_image.WORKER,
        "command": ["python3", "-c", script],
        "resources": {"limits": {"memory": memory}},
        "securityContext": HARDENED,
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hostNetwork": True, "restartPolicy": "Never", "containers": [container]},
    }
    node.cluster.request("POST", "/api/v1/namespaces/default/pods", pod)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = node.cluster.request("GET", f"/api/v1/namespaces/default/pods/{name}")["status"]
        if status["phase"] in ("Succeeded", "Failed"):
            ended: dict[str, object] = status["containerStatuses"][0]["state"]["terminated"]
            return ended
        time.sleep(0.05)
    raise AssertionError(node.kubectl("describe", "pod", name))


def test_a_pod_runs_the_worker_image_as_nobody_in_particular(kubernetes_node: Node) -> None:
    script = "import os, spinner, grpc, zstandard; print('uid', os.getuid()); open('/etc/x', 'w')"
    ended = run_pod(kubernetes_node, "uid", script)
    assert ended["exitCode"] == 1
    log = kubernetes_node.kubectl("logs", "uid")
    assert f"uid {worker_image.UID}" in log and "Read-only file system" in log


def test_a_pod_over_its_memory_limit_is_killed(kubernetes_node: Node) -> None:
    ended = run_pod(kubernetes_node, "hungry", "x = b'x' * (1 << 30)", "48Mi")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_running_node_is_none_that_is_left_over(kubernetes_node: Node) -> None:
    server.reap()
    nodes = json.loads(kubernetes_node.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["localhost"]
    assert all(folder.exists() for folder in cgroups.folders(kubernetes_node.pods))
