"""The manifest of a worker's pod.

The worker reaches its executor over gRPC at `SPINNER_RUNTIME_ADDRESS` and proves itself with the token in the file
`SPINNER_TOKEN_FILE`, which the kubelet puts there (`tokens`): no object of the API has it.

A pod is laid in layers, each merged over those before (`domain.podmerge`): secure defaults, the platform's pod
template, the task's `executor_config` (A7), its `pod_override`, and what makes it this worker, which nothing overrides.
Workers run as nobody in particular, without privileges or capabilities, on a read-only file system with `/tmp` and a
cache.

A job of a migrated workflow has a second container with the user's legacy image (`legacy.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from spinner.core.resources import normalized, problems
from spinner.runtime.boundedlog import Bounds
from spinner_proto.common.v1.common_pb2 import Outcome

from spinner_executor.adapters.backend import Launch, LaunchFailed
from spinner_executor.adapters.kubernetes import legacy, tokens
from spinner_executor.domain import podnames
from spinner_executor.domain.podmerge import merge

WORKER = "worker"
TOKEN_FOLDER = "/var/run/secrets/spinner"  # noqa: S105 - a path
CACHE_FOLDER = "/var/spinner/cache"
# The user and group of the worker's image.
UID = 50000
# Airflow's name of the worker's container.
_BASE = "base"


@dataclass(frozen=True, slots=True, eq=False)
class PodSettings:
    """What all pods of this executor have in common; equal only to itself.

    `priority_classes`: class name of each tier that has one. `template`: a pod that the platform gives to all workers.
    `cache`: the volume source of unpacked bundles and installed packages. `legacy_image`: of jobs that name none.
    `log_rate`: bytes a second of what a worker prints beyond the head of its log that go to its node, too.
    `cache_bytes`: what bundles may take in the cache, and packages as much.
    """

    namespace: str
    cluster: str
    image: str
    image_pull_policy: str = "IfNotPresent"
    service_account: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    priority_classes: Mapping[int, str] = field(default_factory=dict)
    kill_grace_seconds: int = 10
    template: Mapping[str, Any] = field(default_factory=dict)
    cache: Mapping[str, Any] = field(default_factory=lambda: {"emptyDir": {}})
    legacy_image: str = ""
    log_bounds: Bounds = field(default_factory=Bounds)
    log_rate: int = 32 << 20
    cache_bytes: int = 10 << 30


def read_template(path: Path | None) -> dict[str, Any]:
    """The platform's pod template; raises ValueError when it is none."""
    if path is None:
        return {}
    try:
        template = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"SPINNER_KUBERNETES_TEMPLATE: {path}: {error}") from error
    if not isinstance(template, dict) or not isinstance(template.get("spec", {}), dict):
        raise ValueError(f"SPINNER_KUBERNETES_TEMPLATE: {path} is no pod: it needs an object with metadata and spec")
    return template


def build(launch: Launch, nonce: str, settings: PodSettings) -> dict[str, Any]:
    """The pod of one worker; pure. `nonce`: random, tells this launch from others of the same name.

    Raises LaunchFailed (a configuration error) when the task's `executor_config` cannot be honoured.
    """
    order = launch.order
    amounts = launch.memory_request_bytes, launch.memory_limit_bytes
    return merge(_kind(settings, order.runtime, order.resources_json, amounts), _identity(launch, nonce, settings))


@lru_cache(256)
def _kind(settings: PodSettings, runtime: str, resources_json: str, memory: tuple[int, int]) -> dict[str, Any]:
    """What pods of one kind of task have in common: most tasks ask for the same. Not to be changed."""
    asked = _asked(resources_json)
    pod: dict[str, Any] = _defaults(settings)
    task = _task(runtime, memory, asked, settings)
    for layer in (_template(settings), task, _override(asked.get("pod_override") or {})):
        pod = merge(pod, layer)
    return pod


def _asked(resources_json: str) -> dict[str, Any]:
    try:
        resources = json.loads(resources_json or "{}")
    except ValueError as error:
        raise LaunchFailed(f"executor_config is not JSON: {error}", Outcome.OUTCOME_CONFIG_ERROR) from error
    if not isinstance(resources, dict):
        raise LaunchFailed("executor_config is not an object", Outcome.OUTCOME_CONFIG_ERROR)
    if found := list(problems(resources)):
        raise LaunchFailed(f"executor_config cannot be honoured: {'; '.join(found)}", Outcome.OUTCOME_CONFIG_ERROR)
    return normalized(resources)


def security(read_only: bool) -> dict[str, Any]:
    """The security context of a container of ours."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only,
        "capabilities": {"drop": ["ALL"]},
    }


def _defaults(settings: PodSettings) -> dict[str, Any]:
    container = {
        "name": WORKER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": security(read_only=True),
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - the pod's own
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            {"name": "cache", "mountPath": CACHE_FOLDER},
        ],
    }
    spec: dict[str, Any] = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": settings.kill_grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "cache", **settings.cache}],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    return {"metadata": {"annotations": dict(settings.annotations)}, "spec": spec}


def _template(settings: PodSettings) -> dict[str, Any]:
    layer = {name: settings.template[name] for name in ("metadata", "spec") if name in settings.template}
    return _with_our_name(layer)


def _override(override: Mapping[str, Any]) -> dict[str, Any]:
    if not override:
        return {}
    is_pod = any(name in override for name in ("spec", "metadata", "kind"))
    layer = (
        {name: override[name] for name in ("metadata", "spec") if name in override} if is_pod else {"spec": override}
    )
    return _with_our_name(layer)


def _with_our_name(layer: Mapping[str, Any]) -> dict[str, Any]:
    spec = layer.get("spec") or {}
    containers = [
        {**container, "name": WORKER} if container.get("name") == _BASE else container
        for container in spec.get("containers") or ()
    ]
    return {**layer, "spec": {**spec, **({"containers": containers} if containers else {})}}


def _task(runtime: str, memory: tuple[int, int], asked: Mapping[str, Any], settings: PodSettings) -> dict[str, Any]:
    container: dict[str, Any] = {"name": WORKER}
    for name, target in (("image", "image"), ("image_pull_policy", "imagePullPolicy")):
        if name in asked:
            container[target] = asked[name]
    environment = [{"name": name, "value": _text(value)} for name, value in sorted((asked.get("env") or {}).items())]
    mounts = list(asked.get("volume_mounts") or ())
    amounts = _amounts(memory, asked)
    spec: dict[str, Any] = {"containers": [container], "volumes": list(asked.get("volumes") or ())}
    legacy_image = asked.get("legacy_image") or settings.legacy_image
    if runtime == "pinball" and legacy_image:
        sidecar = legacy.container(legacy_image, settings.image_pull_policy, security(read_only=False))
        sidecar |= {"env": environment, "volumeMounts": [*sidecar["volumeMounts"], *mounts]}
        spec["initContainers"] = [sidecar | ({"resources": amounts} if amounts else {})]
        spec["volumes"] = [*spec["volumes"], {"name": legacy.VOLUME, "emptyDir": {}}]
        container |= {
            "env": [*environment, {"name": "SPINNER_LEGACY", "value": legacy.FOLDER}],
            "volumeMounts": [{"name": legacy.VOLUME, "mountPath": legacy.FOLDER}],
            "resources": legacy.WORKER_RESOURCES,
        }
    else:
        container |= {"env": environment, "volumeMounts": mounts} | ({"resources": amounts} if amounts else {})
    if "kill_grace_seconds" in asked:
        spec["terminationGracePeriodSeconds"] = max(1, math.ceil(asked["kill_grace_seconds"]))
    for name, target in (
        ("node_selector", "nodeSelector"),
        ("tolerations", "tolerations"),
        ("affinity", "affinity"),
        ("image_pull_secrets", "imagePullSecrets"),
    ):
        if name in asked:
            spec[target] = asked[name]
    if "service_account" in asked:
        # Whoever names an account needs its credentials.
        spec |= {"serviceAccountName": asked["service_account"], "automountServiceAccountToken": True}
    metadata = {name: asked[name] for name in ("labels", "annotations") if name in asked}
    return {"metadata": metadata, "spec": spec}


def _amounts(bytes_of_memory: tuple[int, int], asked: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    amounts: dict[str, dict[str, str]] = {}
    for kind, memory in zip(("requests", "limits"), bytes_of_memory, strict=True):
        values = {
            "memory": str(memory) if memory else "",
            "cpu": _text(asked.get(f"{kind[:-1]}_cpu", "")),
            "ephemeral-storage": _text(asked.get(f"{kind[:-1]}_storage", "")),
        }
        if found := {name: value for name, value in values.items() if value}:
            amounts[kind] = found
    return amounts


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _identity(launch: Launch, nonce: str, settings: PodSettings) -> dict[str, Any]:
    order = launch.order
    environment = {
        "SPINNER_RUNTIME_ADDRESS": launch.address,
        "SPINNER_TOKEN_FILE": f"{TOKEN_FOLDER}/token",
        "SPINNER_WORKER": launch.worker,
        "SPINNER_POD": launch.worker,
        "SPINNER_CACHE": CACHE_FOLDER,
        "SPINNER_CACHE_BYTES": str(settings.cache_bytes),
        "SPINNER_LOG_HEAD": str(settings.log_bounds.head),
        "SPINNER_LOG_TAIL": str(settings.log_bounds.tail),
        "SPINNER_LOG_RATE": str(settings.log_rate),
    }
    container = {
        "name": WORKER,
        "command": ["python3", "-m", "spinner.runtime"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True}],
    }
    audience = tokens.audience(settings.cluster, launch.partition)
    token = {"sources": [{"serviceAccountToken": {"audience": audience, "path": "token"}}], "defaultMode": 0o440}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "token", "projected": token}],
    }
    if priority := settings.priority_classes.get(order.tier):
        spec["priorityClassName"] = priority
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": launch.worker,
            "namespace": settings.namespace,
            "labels": podnames.labels(order.try_key, settings.cluster, launch.partition),
            "annotations": podnames.marks(launch.key, launch.segment, nonce),
        },
        "spec": spec,
    }
