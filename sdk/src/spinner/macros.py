"""``macros`` in templates: Airflow's functions and the usual modules."""

from __future__ import annotations

import json
import random
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uuid

__all__ = [
    "datetime", "datetime_diff_for_humans", "ds_add", "ds_format", "ds_format_locale", "json", "random", "time",
    "timedelta", "uuid",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """``uuid`` when a template wants it: its library makes every fork of a worker dearer."""
    if name != "uuid":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import uuid

    return uuid


def ds_add(ds: str, days: int) -> str:
    """``YYYY-MM-DD`` plus days (negative: before)."""
    return (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """A date in another format of strftime."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)


def ds_format_locale(ds: str, input_format: str, output_format: str, locale: Any = None) -> str:
    """Same as ds_format, in the process' locale."""
    return ds_format(ds, input_format, output_format)


def datetime_diff_for_humans(dt: datetime, since: datetime | None = None) -> str:
    """How long ago, in words of one unit."""
    other = since or datetime.now(dt.tzinfo)
    seconds = (other - dt).total_seconds()
    for unit, size in (("year", 31_536_000), ("month", 2_592_000), ("week", 604_800), ("day", 86_400), ("hour", 3600),
                       ("minute", 60), ("second", 1)):  # fmt: skip
        count = int(abs(seconds) // size)
        if count:
            text = f"{count} {unit}{'s' if count > 1 else ''}"
            if since is not None:
                return f"{text} {'before' if seconds > 0 else 'after'}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "a few seconds ago"
