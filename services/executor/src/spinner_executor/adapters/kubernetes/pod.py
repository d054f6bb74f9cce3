"""The manifests of a worker: its pod, and the Secret with its token that belongs to the pod.

The worker reaches its executor over gRPC at `SPINNER_RUNTIME_ADDRESS` and proves itself with the token in the file
`SPINNER_TOKEN_FILE`, which only the Secret's volume holds: never the arguments, the environment or an annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spinner_executor.adapters.backend import Launch
from spinner_executor.domain import podnames

WORKER = "worker"
TOKEN_FOLDER = "/var/run/secrets/spinner"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What all pods of this executor have in common. `priority_classes`: class name of each tier that has one."""

    namespace: str
    cluster: str
    image: str
    image_pull_policy: str = "IfNotPresent"
    service_account: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    priority_classes: Mapping[int, str] = field(default_factory=dict)
    kill_grace_seconds: int = 10


@dataclass(frozen=True, slots=True)
class Manifests:
    """Objects to create for one worker: the pod, then the Secret, owned by the pod and removed with it."""

    pod: dict[str, Any]
    secret: dict[str, Any]


def build(launch: Launch, nonce: str, settings: PodSettings) -> Manifests:
    """The objects of one worker; pure. `nonce`: random, tells this launch from others of the same name."""
    order = launch.order
    labels = podnames.labels(order.try_key, settings.cluster, launch.partition)
    metadata = {"name": launch.worker, "namespace": settings.namespace, "labels": labels}
    environment = {
        **launch.environment,
        "SPINNER_RUNTIME_ADDRESS": launch.address,
        "SPINNER_TOKEN_FILE": f"{TOKEN_FOLDER}/token",
        "SPINNER_WORKER": launch.worker,
        "SPINNER_POD": launch.worker,
    }
    container: dict[str, Any] = {
        "name": WORKER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python3", "-m", "spinner.runtime"],
        "env": [{"name": name, "value": value} for name, value in sorted(environment.items())],
        "volumeMounts": [{"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    resources: dict[str, dict[str, str]] = {}
    if launch.memory_request_bytes:
        resources["requests"] = {"memory": str(launch.memory_request_bytes)}
    if launch.memory_limit_bytes:
        resources["limits"] = {"memory": str(launch.memory_limit_bytes)}
    if resources:
        container["resources"] = resources
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": settings.kill_grace_seconds,
        "containers": [container],
        "volumes": [{"name": "token", "secret": {"secretName": launch.worker, "defaultMode": 0o444}}],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if priority := settings.priority_classes.get(order.tier):
        spec["priorityClassName"] = priority
    annotations = {**settings.annotations, **podnames.marks(launch.key, launch.segment, nonce)}
    return Manifests(
        pod={"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "annotations": annotations}, "spec": spec},
        secret={"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": launch.token}},
    )
