"""Days of a time zone as spans of time, so that a database that knows no zones can count by them.

A day is from its first moment to the next day's; with a change of the clock it has 23 or 25 hours. Days that have 24
are alike: a moment's day begins `(moment - first) % DAY` before it. The others are few, and each is a span of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from spinner_proto.definitions.v1 import definitions_pb2

from spinner_webgateway.domain.words import micros_of

DAY = 86_400_000_000
"""Microseconds."""
_ONE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive days from `start` to `end`, microseconds. `regular`: each has 24 hours; else it is one day."""

    start: int
    end: int
    regular: bool


def zone_name(definition: definitions_pb2.DagDefinition | None) -> str:
    """Returns the IANA name of the zone in which the DAG's schedule is; "UTC" when it names none that is known."""
    return _zone_of(definition.schedule) if definition is not None else "UTC"


def _zone_of(schedule: definitions_pb2.Schedule) -> str:
    kind = schedule.WhichOneof("kind")
    name = ""
    if kind == "cron":
        name = schedule.cron.timezone
    elif kind == "delta":
        name = schedule.delta.timezone
    elif kind == "assets" and schedule.assets.HasField("or_cron"):
        name = schedule.assets.or_cron.timezone
    elif kind == "assets" and schedule.assets.HasField("or_time"):
        return _zone_of(schedule.assets.or_time)
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"


def boundaries(zone: str, first: date, last: date) -> list[int]:
    """Returns when each day from `first` to `last` begins, and when the last one ends; microseconds."""
    days = [first + n * _ONE for n in range((last - first).days + 2)]
    return [micros_of(datetime.combine(day, time.min, ZoneInfo(zone))) for day in days]


def spans(edges: list[int]) -> list[Span]:
    """Returns the spans between `boundaries`, in order, without a gap."""
    found: list[Span] = []
    for start, end in pairwise(edges):
        regular = end - start == DAY
        if found and regular and found[-1].regular:
            start = found.pop().start
        found.append(Span(start, end, regular))
    return found


def day_of(zone: str, moment: int) -> date:
    """Returns the date in the zone at a moment, microseconds since the epoch."""
    return datetime.fromtimestamp(moment / 1e6, ZoneInfo(zone)).date()


def today(zone: str) -> date:
    """Returns the date that it is in the zone now."""
    return datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
