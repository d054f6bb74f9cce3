"""What a task asked for (A7), as far as a process on one machine can honour it."""

from __future__ import annotations

import json
import re

_UNITS = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")


class InvalidResources(ValueError):  # noqa: N818 - an answer
    """The resources of a task cannot be read. Says which, and what is expected."""


def parse_bytes(quantity: str | int | float) -> int:
    """Bytes of a Kubernetes quantity such as "512Mi" or 2e9; raises InvalidResources."""
    if isinstance(quantity, (int, float)):
        return int(quantity)
    match = _QUANTITY.match(quantity)
    if match is None or match[2] not in _UNITS:
        raise InvalidResources(f"memory {quantity!r} is not a quantity; write it like 512Mi or 2Gi")
    return int(float(match[1]) * _UNITS[match[2]])


def memory_of(resources_json: str) -> tuple[int, int]:
    """The `request_memory` and `limit_memory` of a task in bytes, 0 for none; raises InvalidResources."""
    if not resources_json:
        return 0, 0
    try:
        resources = json.loads(resources_json)
    except ValueError as error:
        raise InvalidResources(f"resources are not JSON: {error}") from error
    if not isinstance(resources, dict):
        raise InvalidResources('resources must be a JSON object such as {"limit_memory": "2Gi"}')
    request, limit = resources.get("request_memory"), resources.get("limit_memory")
    return parse_bytes(request) if request else 0, parse_bytes(limit) if limit else 0


def environment(resources_json: str) -> dict[str, str]:
    """The `env` that a task asked for."""
    if not resources_json:
        return {}
    try:
        env = json.loads(resources_json).get("env") or {}
    except (ValueError, AttributeError):
        return {}
    return {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {}
