"""Aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from spinner.exceptions import SpinnerException

utc = UTC


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def parse(text: str, timezone: str | None = None) -> datetime:
    """An ISO date or datetime; without offset in ``timezone``, UTC by default. Raises SpinnerException."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SpinnerException(f"{text!r} is no date and time. Use 2026-01-31T08:00:00+00:00.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone) if timezone else UTC)


def make_aware(value: datetime, timezone: Any = None) -> datetime:
    """A naive datetime in ``timezone``, UTC by default."""
    zone = ZoneInfo(timezone) if isinstance(timezone, str) else timezone
    return value.replace(tzinfo=zone or UTC)


def is_localized(value: datetime) -> bool:
    """Whether it has a zone."""
    return value.utcoffset() is not None
