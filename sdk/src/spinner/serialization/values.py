"""The JSON of XComs, trigger arguments and trigger events, for executors: ``dumps`` to bytes, ``loads`` back."""

from __future__ import annotations

from typing import Any

from spinner.core.values import decode_json, encode_json


def dumps(value: Any) -> bytes:
    """UTF-8 JSON. Raises spinner.core.values.ValueNotSerializable."""
    return encode_json(value, "The value")


def loads(data: bytes | str) -> Any:
    """The value again. Raises ValueError."""
    return decode_json(data)
