"""Values as JSON for people: stable, without object addresses, and bounded."""

from __future__ import annotations

import enum
import re
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any

from spinner.core.xcom_arg import XComArg

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 16_384


def plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON. Functions and classes by name, other objects by repr without addresses."""
    if value is None or (isinstance(value, bool | int | float) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, XComArg | PurePath):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if depth > 10:
        return "…"
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, depth + 1) for item in value), key=repr)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"<{value.__qualname__}>"
    return _ADDRESS.sub("", repr(value))[:_LONGEST]


def template_value(value: Any) -> Any:
    """A template field as written."""
    return plain(value)
