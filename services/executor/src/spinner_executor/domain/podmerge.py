"""Kubernetes' strategic merge patch for pods, as far as pods need it. Pure; changes neither argument.

Objects merge by key; null deletes; lists with a merge key merge by it, all others are replaced. `$patch: delete`
removes an item, `$patch: replace` takes the patch alone.
(https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/, merge keys from the API's
`x-kubernetes-patch-merge-key`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "ownerReferences": "uid",
}
_DIRECTIVE = "$patch"


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `patch` over it."""
    if patch.get(_DIRECTIVE) == "replace":
        return {name: value for name, value in patch.items() if name != _DIRECTIVE}
    merged = dict(base)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            earlier = merged.get(name)
            merged[name] = merge(earlier if isinstance(earlier, Mapping) else {}, value)
        elif name in _KEYS and isinstance(value, Sequence) and isinstance(merged.get(name), Sequence):
            merged[name] = _merge_list(merged[name], value, _KEYS[name])
        else:
            merged[name] = value
    return merged


def _merge_list(base: Sequence[Any], patch: Sequence[Any], key: str) -> list[Any]:
    if any(isinstance(item, Mapping) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if item.get(_DIRECTIVE) != "replace"]
    merged = {item[key]: item for item in base if key in item}
    for item in patch:
        name = item.get(key)
        if item.get(_DIRECTIVE) == "delete":
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name, {}), item)
    return list(merged.values())
