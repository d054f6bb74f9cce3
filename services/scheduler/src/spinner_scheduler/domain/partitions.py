"""Partition keys of assets: which run an update with a key counts for, and which keys a rollup needs.

Mappers are data, so that deciding stays pure: the identity, or the beginning of a period of time, in the zone of the
mapper. A rollup's run needs a key for each member of its window: a day's are its hours, those that a change of the
clock leaves out excepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from spinner_proto.definitions.v1.definitions_pb2 import (
    AssetSchedule,
    CronSchedule,
    DagDefinition,
    PartitionMapper,
    PartitionPeriod,
    TimePartition,
)

from spinner_scheduler.domain import times

MAX_KEY = 250

_HOUR = int(PartitionPeriod.PARTITION_PERIOD_HOUR)
_DAY = int(PartitionPeriod.PARTITION_PERIOD_DAY)
_WEEK = int(PartitionPeriod.PARTITION_PERIOD_WEEK)
_MONTH = int(PartitionPeriod.PARTITION_PERIOD_MONTH)
_QUARTER = int(PartitionPeriod.PARTITION_PERIOD_QUARTER)
_YEAR = int(PartitionPeriod.PARTITION_PERIOD_YEAR)


def run_key(schedule: AssetSchedule, name: str, key: str) -> str:
    """The key of the run that an update of `name` with this key counts for. Raises ValueError, for people."""
    mapper = _mapper(schedule, name)
    if not mapper.HasField("time"):
        return key
    found = _text(_start(_parsed(mapper.time, key), mapper.time.period), mapper.time.output_format)
    if not 0 < len(found) <= MAX_KEY:
        raise ValueError(f"its partition key {key!r} becomes {found!r}, which is no key")
    return found


def needed(schedule: AssetSchedule, name: str, key: str) -> list[str]:
    """The keys of `name` that a run needs which an update with this key counts for, in order."""
    mapper = _mapper(schedule, name)
    if not mapper.HasField("time") or not mapper.time.window:
        return [key]
    wanted = mapper.time
    return [_text(member, wanted.input_format) for member in _members(wanted, _parsed(wanted, key))]


def of_tick(definition: DagDefinition, logical: int) -> str:
    """The partition key of a scheduled or backfilled run; "" when the schedule gives none."""
    cron = _cron(definition)
    if cron is None or not cron.partition_format:
        return ""
    moment = times.to_datetime(logical + times.from_duration(cron.partition_offset))
    return _text(moment.astimezone(ZoneInfo(cron.timezone or "UTC")), cron.partition_format)[:MAX_KEY]


def _cron(definition: DagDefinition) -> CronSchedule | None:
    schedule = definition.schedule
    if schedule.HasField("assets"):
        schedule = schedule.assets.or_time
    return schedule.cron if schedule.HasField("cron") else None


def _mapper(schedule: AssetSchedule, name: str) -> PartitionMapper:
    return schedule.mappers.get(name, schedule.default_mapper)


def _parsed(wanted: TimePartition, key: str) -> datetime:
    """The local time of a key."""
    try:
        found = datetime.strptime(key, wanted.input_format)
    except ValueError:
        raise ValueError(f"its partition key {key!r} is no time in the format {wanted.input_format!r}") from None
    if found.tzinfo is not None:
        found = found.astimezone(ZoneInfo(wanted.timezone or "UTC"))
    return found.replace(tzinfo=None)


def _start(moment: datetime, period: int) -> datetime:
    if period == _HOUR:
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == _WEEK:
        return day - timedelta(days=day.weekday())
    if period == _MONTH:
        return day.replace(day=1)
    if period == _QUARTER:
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1) if period == _YEAR else day


def _members(wanted: TimePartition, moment: datetime) -> Iterator[datetime]:
    window = int(wanted.window)
    at = start = _start(moment, window)
    while _start(at, window) == start:
        if window != _DAY or _exists(at, wanted.timezone):
            yield at
        if window in (_QUARTER, _YEAR):
            at = (at + timedelta(days=31)).replace(day=1)
        else:
            at += timedelta(minutes=1) if window == _HOUR else timedelta(hours=1 if window == _DAY else 24)


def _exists(moment: datetime, timezone: str) -> bool:
    zone = ZoneInfo(timezone or "UTC")
    there = moment.replace(tzinfo=zone)
    return there.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment


def _text(moment: datetime, pattern: str) -> str:
    return moment.strftime(pattern.replace("{quarter}", str((moment.month - 1) // 3 + 1)))
