"""What a task asked for (A7), as far as a process on one machine can honour it."""

from __future__ import annotations

import json
from typing import Any

from spinner_servicekit.quantities import InvalidQuantity, parse_bytes, parse_cpus


class InvalidResources(ValueError):  # noqa: N818 - an answer
    """The resources of a task cannot be read. Says which, and what is expected."""


def memory_of(resources_json: str) -> tuple[int, int]:
    """The `request_memory` and `limit_memory` of a task in bytes, 0 for none; raises InvalidResources."""
    if not resources_json:
        return 0, 0
    resources = _loaded(resources_json)
    request, limit = resources.get("request_memory"), resources.get("limit_memory")
    try:
        return parse_bytes(request) if request else 0, parse_bytes(limit) if limit else 0
    except InvalidQuantity as error:
        raise InvalidResources(str(error)) from error


def cpus_of(resources_json: str) -> float:
    """The `limit_cpu` of a task in processors, 0 for none; raises InvalidResources."""
    if "limit_cpu" not in resources_json:
        return 0.0
    limit = _loaded(resources_json).get("limit_cpu")
    try:
        return parse_cpus(limit) if limit else 0.0
    except InvalidQuantity as error:
        raise InvalidResources(str(error)) from error


def _loaded(resources_json: str) -> dict[str, Any]:
    try:
        resources = json.loads(resources_json)
    except ValueError as error:
        raise InvalidResources(f"resources are not JSON: {error}") from error
    if not isinstance(resources, dict):
        raise InvalidResources('resources must be a JSON object such as {"limit_memory": "2Gi"}')
    return resources


def kill_grace_seconds(resources_json: str) -> float | None:
    """The `kill_grace_seconds` that a task asked for; None when it did not, or not with a number."""
    if "kill_grace_seconds" not in resources_json:
        return None
    try:
        grace = json.loads(resources_json).get("kill_grace_seconds")
    except (ValueError, AttributeError):
        return None
    return float(grace) if isinstance(grace, (int, float)) and grace >= 0 else None


def environment(resources_json: str) -> dict[str, str]:
    """The `env` that a task asked for."""
    if not resources_json:
        return {}
    try:
        env = json.loads(resources_json).get("env") or {}
    except (ValueError, AttributeError):
        return {}
    return {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
