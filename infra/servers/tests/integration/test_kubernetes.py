"""The Kubernetes behind the fixture is a real API: it schedules, nodes run and end pods, history can be lost."""

from __future__ import annotations

import json
import time
import urllib.error
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from spinner_servers import kubernetes
from spinner_servers.kubernetes import Cluster
from spinner_servers.kubernetes.cluster import compact

PODS = "/api/v1/namespaces/default/pods"


def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


def make_pod(cluster: Cluster, **annotations: str) -> str:
    name = f"p-{uuid.uuid4().hex[:8]}"
    marks = {f"spinner.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    spec = {"containers": [{"name": "worker", "image": "none"}], "restartPolicy": "Never"}
    cluster.request("POST", PODS, {"metadata": {"name": name, "annotations": marks}, "spec": spec})
    return name


def phase(cluster: Cluster, name: str) -> str:
    return str(cluster.request("GET", f"{PODS}/{name}")["status"]["phase"])


def test_simulated_nodes_run_end_and_delete_pods(kubernetes_api: Cluster) -> None:
    stays = make_pod(kubernetes_api)
    ends = make_pod(kubernetes_api, simulated_run="10ms")
    fails = make_pod(kubernetes_api, simulated_run="10ms", simulated_exit_code="137", simulated_reason="OOMKilled")
    until(lambda: phase(kubernetes_api, ends) == "Succeeded", "a pod succeeds")
    until(lambda: phase(kubernetes_api, fails) == "Failed", "a pod fails")
    status = kubernetes_api.request("GET", f"{PODS}/{fails}")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (status["exitCode"], status["reason"]) == (137, "OOMKilled")
    assert phase(kubernetes_api, stays) == "Running"
    for name in (stays, ends, fails):
        kubernetes_api.request("DELETE", f"{PODS}/{name}")

    def gone() -> bool:
        try:
            kubernetes_api.request("GET", f"{PODS}/{stays}")
        except urllib.error.HTTPError as error:
            return error.code == 404
        return False

    until(gone, "a deleted pod is gone")


def test_an_api_server_that_restarts_after_a_compaction_has_forgotten_old_versions(kubernetes_api: Cluster) -> None:
    old = kubernetes_api.request("GET", f"{PODS}?limit=1")["metadata"]["resourceVersion"]
    make_pod(kubernetes_api)
    kubernetes.restart_api_server(kubernetes_api)
    make_pod(kubernetes_api)
    compact(kubernetes_api)
    kubernetes.restart_api_server(kubernetes_api)
    query = f"{PODS}?watch=true&timeoutSeconds=2&resourceVersion={old}"
    try:
        event = kubernetes_api.request("GET", query)
        text = event if isinstance(event, str) else json.dumps(event)
        assert '"code": 410' in text or '"code":410' in text
    except urllib.error.HTTPError as error:
        assert error.code == 410
    with pytest.raises(urllib.error.HTTPError):
        kubernetes_api.request("GET", "/api/v1/namespaces/nowhere")
