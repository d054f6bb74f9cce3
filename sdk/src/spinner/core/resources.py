"""What a task may ask of the place it runs at (A7): the keys of ``executor_config["KubernetesExecutor"]``.

    request_memory limit_memory request_cpu limit_cpu request_storage limit_storage    quantities: "512Mi", "500m", 2
    image image_pull_policy service_account legacy_image                               texts
    env node_selector labels annotations                                               texts by name
    tolerations volumes volume_mounts image_pull_secrets                               as in a pod's specification
    affinity pod_override                                                              the same; an override is merged
    requirements packages                                                              Python packages (C9)
    kill_grace_seconds                                                                 from SIGTERM to SIGKILL

``pod_override`` is a pod, or a pod's ``spec``; it is merged last, as Kubernetes' strategic merge patch does. Checks of
DAG files and executors read the same rules here, so what passes a check can be launched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

QUANTITIES = tuple(f"{kind}_{what}" for kind in ("request", "limit") for what in ("memory", "cpu", "storage"))
_TEXTS = ("image", "image_pull_policy", "service_account", "legacy_image")
_MAPS = ("env", "node_selector", "labels", "annotations")
_LISTS = ("tolerations", "volumes", "volume_mounts", "image_pull_secrets")
_OBJECTS = ("affinity", "pod_override")
_SECONDS = ("kill_grace_seconds",)
_MAX_GRACE_SECONDS = 3600
_PACKAGES = ("requirements", "packages")
# Airflow's other names for the same.
ALIASES = {
    "service_account_name": "service_account",
    "node_selectors": "node_selector",
    "namespace": "",
}
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|[kKMGTP]i?|)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def normalized(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The same with Spinner's names, without empty values."""
    return {ALIASES.get(name, name): value for name, value in resources.items() if value not in (None, "", {}, [])}


def problems(resources: Mapping[str, Any]) -> Iterator[str]:
    """Everything that keeps a worker from being made as asked. Bounds are the checks' affair."""
    known = {*QUANTITIES, *_TEXTS, *_MAPS, *_LISTS, *_OBJECTS, *_PACKAGES, *_SECONDS}
    for name, value in normalized(resources).items():
        if name == "":
            yield "namespace cannot be chosen by a task: pods of a cluster share the executor's"
        elif name not in known:
            yield f"{name} is not known; known are {', '.join(sorted(known))}"
        elif name in QUANTITIES:
            text = value if isinstance(value, str) else f"{value}" if _is_number(value) else ""
            if not _QUANTITY.fullmatch(text):
                yield f'{name}={value!r} is not a quantity such as "512Mi" or "500m"'
        elif name in _SECONDS:
            if not _is_number(value) or not 0 <= value <= _MAX_GRACE_SECONDS:
                yield f"{name}={value!r} is not a number of seconds from 0 to {_MAX_GRACE_SECONDS}"
        elif name in _TEXTS:
            if not isinstance(value, str):
                yield f"{name}={value!r} is not a text"
            elif name == "image_pull_policy" and value not in _PULL_POLICIES:
                yield f"{name}={value!r} is none of {', '.join(_PULL_POLICIES)}"
        elif name in _MAPS:
            yield from _of_map(name, value)
        elif name in _LISTS:
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                yield f"{name}={value!r} is not a list of objects as in a pod's specification"
        elif name in _OBJECTS:
            if not isinstance(value, dict):
                yield f"{name}={value!r} is not an object as in a pod's specification"
        elif not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(i, str) for i in value)):
            yield f'{name}={value!r} is not a list of requirements such as ["pandas==2.2.3"]'


def _of_map(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or not all(isinstance(v, str | int | float | bool) for v in value.values()):
        yield f"{name}={value!r} is not an object of names and texts"
    elif name == "env":
        for variable in value:
            if not _NAME.fullmatch(str(variable)):
                yield f"env: {variable!r} is not a variable's name"
            elif str(variable).startswith("SPINNER_"):
                yield f"env: {variable} is the worker's own; choose a name that does not begin with SPINNER_"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def pod_spec_of(override: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``spec`` of a ``pod_override``, which may be a whole pod or the specification alone."""
    spec = override.get("spec")
    if isinstance(spec, Mapping):
        return spec
    return {} if "metadata" in override or "kind" in override else override


def escalations(resources: Mapping[str, Any]) -> Iterator[str]:
    """What in a task's own pod would give it more power over its node than workers have."""
    override = resources.get("pod_override")
    spec = pod_spec_of(override) if isinstance(override, Mapping) else {}
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"pod_override sets {name}"
    volumes = [*_list(spec.get("volumes")), *_list(resources.get("volumes"))]
    yield from (f"volume {volume.get('name')!r} is a hostPath" for volume in volumes if volume.get("hostPath"))
    context = spec.get("securityContext")
    if isinstance(context, Mapping):
        yield from _powers(context, "the pod")
    for kind in ("initContainers", "containers"):
        for container in _list(spec.get(kind)):
            context = container.get("securityContext")
            if isinstance(context, Mapping):
                yield from _powers(context, f"container {container.get('name')!r}")


def _powers(context: Mapping[str, Any], whose: str) -> Iterator[str]:
    for name in ("privileged", "allowPrivilegeEscalation"):
        if context.get(name):
            yield f"{whose} sets {name}"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{whose} runs as root"
    capabilities = context.get("capabilities")
    if isinstance(capabilities, Mapping) and capabilities.get("add"):
        yield f"{whose} adds capabilities {', '.join(map(str, capabilities['add']))}"


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
