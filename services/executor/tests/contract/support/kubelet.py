"""A node that is not real but runs real processes: what a kubelet does for the worker's container, without containers.

It takes the pods that the scheduler binds to its node, runs the worker's command as a process with the pod's
environment and token, writes the pod's status, and carries out deletions with their grace period.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from spinner_servers.kubernetes import Cluster

_POLL_SECONDS = 0.05
_HEARTBEAT_SECONDS = 5.0
# By it the processes of a container are found.
_CONTAINER = "KUBELET_CONTAINER"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def token_of(cluster: Cluster, pod: dict[str, Any]) -> str:
    """The token that a kubelet gets for a pod, by asking for what the pod's volume says."""
    metadata, spec = pod["metadata"], pod["spec"]
    projected = next(volume["projected"] for volume in spec["volumes"] if volume["name"] == "token")
    asked = {
        "audiences": [projected["sources"][0]["serviceAccountToken"]["audience"]],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
    }
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{spec['serviceAccountName']}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": asked}
    return str(cluster.request("POST", path, request)["status"]["token"])


def _end_all_of(uid: str) -> None:
    """What the kernel does when process 1 of a container ends: all the others end at once."""
    stopped: set[psutil.Process] = set()
    while fresh := _processes_of(uid) - stopped:
        for process in fresh:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        stopped |= fresh
    for process in stopped:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _processes_of(uid: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_CONTAINER) == uid:
                found.add(process)
    return found


class Kubelet:
    """`node`: its name, also the value of its label `spinner.dev/node`."""

    def __init__(self, cluster: Cluster, node: str, variables: dict[str, str] | None = None) -> None:
        self.cluster = cluster
        self.node = node
        # Pods that ever ran here, in order; a name twice would be a doubled pod.
        self.ran: list[str] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._variables = variables or {}
        self._folder = Path(tempfile.mkdtemp(prefix="spinner-kubelet-"))
        self._kill_at: dict[str, float] = {}
        self._ended: set[str] = set()
        self._beaten = 0.0
        self._stopping = threading.Event()
        room = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
        with contextlib.suppress(urllib.error.HTTPError):
            cluster.request(
                "POST",
                "/api/v1/nodes",
                {
                    "metadata": {"name": node, "labels": {"spinner.dev/node": node}},
                    "status": {"capacity": room, "allocatable": room},
                },
            )
        self._beat()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def log(self, pod: str) -> str:
        """What the container wrote."""
        return "".join(path.read_text(errors="replace") for path in self._folder.glob(f"{pod}-*.log"))

    def kill(self, uid: str) -> None:
        """SIGKILL to everything in a pod's container."""
        _end_all_of(uid)

    def close(self) -> None:
        """Ends all that runs here."""
        self._stopping.set()
        self._thread.join(10)
        for uid, process in self.processes.items():
            _end_all_of(uid)
            process.wait()
        with contextlib.suppress(urllib.error.HTTPError):
            self.cluster.request("DELETE", f"/api/v1/nodes/{self.node}")

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < _HEARTBEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
        self.cluster.request(
            "PATCH",
            f"/api/v1/nodes/{self.node}/status",
            {"status": {"conditions": [ready]}},
            "application/strategic-merge-patch+json",
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(OSError):  # an API server that restarts; the next round sees everything
                self._beat()
                found = self.cluster.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.node}")
                for pod in found["items"]:
                    self._look_at(pod)
            self._stopping.wait(_POLL_SECONDS)

    def _look_at(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        process = self.processes.get(uid)
        deleting = "deletionTimestamp" in pod["metadata"]
        if process is None:
            if deleting:
                self._delete(pod)
            elif pod["status"]["phase"] == "Pending":
                self._start(pod)
            return
        if deleting and process.poll() is None:
            grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
            if uid not in self._kill_at:
                os.killpg(process.pid, signal.SIGTERM)
            kill_at = self._kill_at[uid] = min(self._kill_at.get(uid, 1e18), time.monotonic() + grace)
            if time.monotonic() >= kill_at:
                _end_all_of(uid)
        if process.poll() is not None:
            if uid not in self._ended:
                _end_all_of(uid)
                self._tell_end(pod, process.returncode)
                self._ended.add(uid)
            if deleting:
                self._delete(pod)

    def _start(self, pod: dict[str, Any]) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        token = self._folder / f"{uid}.token"
        try:
            token.write_text(token_of(self.cluster, pod))
        except urllib.error.HTTPError:
            return  # the pod is gone meanwhile
        container = next(c for c in pod["spec"]["containers"] if c["name"] == "worker")
        environment = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        environment |= {"SPINNER_TOKEN_FILE": str(token), _CONTAINER: uid, **self._variables}
        with (self._folder / f"{name}-{uid}.log").open("wb") as log:
            self.processes[uid] = subprocess.Popen(
                [sys.executable, *container["command"][1:]],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
            )
        self.ran.append(name)
        self._tell(pod, "Running", {"running": {"startedAt": _now()}})

    def _tell_end(self, pod: dict[str, Any], code: int) -> None:
        code = 128 - code if code < 0 else code
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}
        self._tell(pod, "Failed" if code else "Succeeded", {"terminated": ended})

    def _tell(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        status = {"name": "worker", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.cluster.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}/pods/{name}/status",
            {"status": {"phase": phase, "containerStatuses": [status]}},
            "application/merge-patch+json",
        )

    def _delete(self, pod: dict[str, Any]) -> None:
        name, namespace, uid = (pod["metadata"][part] for part in ("name", "namespace", "uid"))
        with contextlib.suppress(urllib.error.HTTPError):
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
            self.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body)
