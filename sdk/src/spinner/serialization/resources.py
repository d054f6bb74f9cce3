"""``executor_config`` as data: also Airflow's form with objects of the Kubernetes client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spinner.serialization.text import plain


def resources_of(executor_config: Mapping[str, Any]) -> dict[str, Any]:
    """What the task asks for: the key "KubernetesExecutor", and "pod_override" beside it as in Airflow."""
    resources = dict(executor_config.get("KubernetesExecutor") or {})
    if executor_config.get("pod_override") is not None:
        resources.setdefault("pod_override", executor_config["pod_override"])
    return {str(name): _as_data(value) for name, value in resources.items()}


def _as_data(value: Any) -> Any:
    names = getattr(type(value), "attribute_map", None)
    if isinstance(names, dict):  # a model of the Kubernetes client
        fields = {wire: getattr(value, name) for name, wire in names.items()}
        return {wire: _as_data(field) for wire, field in fields.items() if field is not None}
    if isinstance(value, Mapping):
        return {str(name): _as_data(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_data(item) for item in value]
    return plain(value)
