"""Legacy schedules: a period from a reference, without calendars and time zones."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from spinner_token_fetcher.domain.graph import WorkflowInvalidError

OVERRUN_POLICIES = ("SKIP", "ABORT_RUNNING", "DELAY", "DELAY_UNTIL_SUCCESS", "START_NEW")
_UNITS = {"S": "seconds", "M": "minutes", "H": "hours", "D": "days", "W": "weeks"}
_PERIOD = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([SMHDW])\w*\s*", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?")


def next_run(reference: datetime, recurrence: timedelta, now: datetime) -> datetime:
    """Returns reference + n·recurrence, the first after `now`; when they are equal, the next. n may not be negative."""
    if now < reference:
        return reference
    return reference + ((now - reference) // recurrence + 1) * recurrence


def recurrence_of(value: object, workflow: str) -> timedelta:
    """Reads a timedelta, a number of seconds, or text such as "2H". Raises WorkflowInvalidError."""
    found: timedelta | None = None
    if isinstance(value, timedelta):
        found = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = timedelta(seconds=value)
    elif isinstance(value, str) and (match := _PERIOD.fullmatch(value)):
        found = timedelta(**{_UNITS[match[2].upper()]: float(match[1])})
    if found is None or found <= timedelta():
        raise WorkflowInvalidError(
            f"Workflow {workflow} has the recurrence {value!r}. "
            "Write a positive timedelta, or text such as '2H' or '1D'."
        )
    return found


def reference_of(value: object, time: object, start_date: object, workflow: str) -> datetime:
    """Reads a datetime (naive: UTC), ISO text, or a start date and a time of day as text.

    Raises WorkflowInvalidError.
    """
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if isinstance(start_date, str):
            day = datetime.fromisoformat(start_date).replace(tzinfo=UTC)
            clock = _CLOCK.fullmatch(time) if isinstance(time, str) else None
            if clock is not None:
                return day.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0))
            if time is None:
                return day
    except ValueError as error:
        raise WorkflowInvalidError(f"Workflow {workflow} has a reference time that can't be read: {error}.") from error
    raise WorkflowInvalidError(
        f"Workflow {workflow} has no reference time. Give reference_timestamp=datetime(…) in UTC."
    )


def policy_of(value: object, workflow: str) -> str:
    """Reads an overrun policy by name or number; SKIP when there is none. Raises WorkflowInvalidError."""
    if value is None:
        return "SKIP"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(OVERRUN_POLICIES):
        return OVERRUN_POLICIES[value]
    name = str(getattr(value, "name", value)).upper()
    if name in OVERRUN_POLICIES:
        return name
    raise WorkflowInvalidError(
        f"Workflow {workflow} has the overrun policy {value!r}. Use one of {', '.join(OVERRUN_POLICIES)}."
    )
