"""Times and durations as authors write them, made exact: aware datetimes, timedeltas, IANA zone names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from spinner.exceptions import SpinnerDagError


def as_utc(value: datetime) -> datetime:
    """The instant in UTC; a naive datetime is taken as UTC. Raises SpinnerDagError for anything else."""
    if not isinstance(value, datetime):
        raise SpinnerDagError(f"{value!r} is not a datetime.", "Use datetime(2026, 1, 1, tzinfo=UTC).")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def zone_name(zone: tzinfo | None) -> str:
    """IANA name of a zone object of zoneinfo, pendulum, pytz or dateutil; "UTC" for none and for fixed zero.

    Raises SpinnerDagError for a fixed offset, which has no name.
    """
    if zone is None or zone is UTC:
        return "UTC"
    for attribute in ("key", "name", "zone"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str) and name:
            return name
    if zone.utcoffset(None) in (None, timedelta(0)) and "UTC" in str(zone).upper():
        return "UTC"
    raise SpinnerDagError(
        f"The time zone {zone!r} has no IANA name.", "Use zoneinfo.ZoneInfo('Europe/Berlin') or another named zone."
    )


def as_duration(value: Any, name: str, task_id: str) -> timedelta:
    """A timedelta, or a number of seconds. Raises SpinnerDagError when it is neither or negative."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise SpinnerDagError(
            f"{task_id!r} has {name}={value!r}.", "Use a timedelta, or a number of seconds, of 0 or more."
        )
    return value
