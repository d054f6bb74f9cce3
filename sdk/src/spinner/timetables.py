"""Schedules: what an author may pass as ``schedule=``, and the message that the scheduler reads.

A cron string, a preset or a timedelta has data intervals: the run of [a, b) starts at b with logical date a. The
Trigger timetables run at the tick itself. A cron string has five fields, or six with the seconds last. Assets start a
run when they were updated. A custom timetable is a subclass of :class:`Timetable` with ``next_dagrun_info``: dag-sync
asks it ahead of time, and again before its answers run out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

from spinner.core.assets import Asset, AssetAlias, AssetAll, BaseAsset
from spinner.core.partitions import IdentityMapper, PartitionMapper
from spinner.core.times import as_utc, zone_name
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner_proto.definitions.v1.definitions_pb2 import Schedule

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def check_cron(expression: str, where: str = "A timetable") -> str:
    """The expression with presets expanded. Raises SpinnerDagError when it has not 5 or 6 fields."""
    text = PRESETS.get(expression.strip(), expression.strip())
    if len(text.split()) not in (5, 6):
        raise SpinnerDagError(
            f"{where} has the schedule {expression!r}, which is neither a cron expression nor a preset.",
            "Use five fields such as '0 6 * * *', a preset (@hourly @daily @weekly @monthly @quarterly @yearly), "
            "@once, @continuous, a timedelta, a timetable, or None.",
        )
    return text


class DataInterval(NamedTuple):
    """What a run covers."""

    start: datetime
    end: datetime

    @classmethod
    def exact(cls, at: datetime) -> DataInterval:
        """An interval of no length."""
        return cls(at, at)


class DagRunInfo(NamedTuple):
    """A run to be: when it starts at the earliest, and what it covers. Its logical date is the interval's start."""

    run_after: datetime
    data_interval: DataInterval

    @classmethod
    def exact(cls, at: datetime) -> DagRunInfo:
        """A run at a moment."""
        return cls(at, DataInterval.exact(at))

    @classmethod
    def interval(cls, start: datetime, end: datetime) -> DagRunInfo:
        """A run that covers an interval and starts at its end."""
        return cls(end, DataInterval(start, end))

    @property
    def logical_date(self) -> datetime:
        """The start of the data interval."""
        return self.data_interval.start


class TimeRestriction(NamedTuple):
    """The DAG's start_date, end_date and catchup."""

    earliest: datetime | None
    latest: datetime | None
    catchup: bool


class Timetable:
    """The base of all. A custom one implements :meth:`next_dagrun_info`, and ``summary`` or ``description``."""

    needs_start_date = False
    summary = ""
    description = ""

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The run after the one of ``last_automated_data_interval`` (None: the first); None when there is none."""
        raise NotImplementedError(f"{type(self).__name__} does not implement next_dagrun_info().")

    def infer_manual_data_interval(self, *, run_after: datetime) -> DataInterval:
        """What a run by hand covers. Not implemented: the latest interval that :meth:`next_dagrun_info` gave."""
        return DataInterval.exact(run_after)

    @property
    def is_custom(self) -> bool:
        """Whether it is a program, to be asked for its runs."""
        return type(self).next_dagrun_info is not Timetable.next_dagrun_info

    def assets(self) -> list[Asset | AssetAlias]:
        """Assets that it waits for."""
        return []

    def text(self) -> str:
        """What the author wrote, for people."""
        return self.summary or self.description or type(self).__name__

    def to_schedule(self) -> Schedule:
        """The message."""
        from spinner_proto.definitions.v1.definitions_pb2 import ExplicitSchedule, Schedule

        if not self.is_custom:
            raise SpinnerDagError(
                f"The timetable {type(self).__name__} has no next_dagrun_info().",
                "Implement next_dagrun_info(self, *, last_automated_data_interval, restriction).",
            )
        infers = type(self).infer_manual_data_interval is not Timetable.infer_manual_data_interval
        return Schedule(explicit=ExplicitSchedule(evaluated=True, infers_manual=infers), text=self.text())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text()}>"


class NullTimetable(Timetable):
    """Runs only by hand."""

    def text(self) -> str:
        return "None"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import NoSchedule, Schedule

        return Schedule(none=NoSchedule(), text=self.text())


class OnceTimetable(Timetable):
    """One run, at start_date."""

    def text(self) -> str:
        return "@once"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import OnceSchedule, Schedule

        return Schedule(once=OnceSchedule(), text=self.text())


class ContinuousTimetable(Timetable):
    """The next run starts when the one before ends."""

    needs_start_date = True

    def text(self) -> str:
        return "@continuous"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import ContinuousSchedule, Schedule

        return Schedule(continuous=ContinuousSchedule(), text=self.text())


class CronDataIntervalTimetable(Timetable):
    """A run for each interval between two ticks, starting at its end."""

    needs_start_date = True

    def __init__(self, cron: str, timezone: str | tzinfo, written: str = "") -> None:
        self.expressions = [check_cron(cron)]
        self.timezone = timezone if isinstance(timezone, str) else zone_name(timezone)
        self._text = written or cron

    def text(self) -> str:
        return self._text

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import CronSchedule, Schedule

        return Schedule(cron=CronSchedule(expressions=self.expressions, timezone=self.timezone), text=self.text())


class MultipleCronTriggerTimetable(Timetable):
    """A run at each tick of any expression; the interval before it is ``interval`` long (zero by default)."""

    needs_start_date = True

    def __init__(
        self,
        *crons: str,
        timezone: str | tzinfo,
        interval: timedelta = timedelta(),
        run_immediately: bool | timedelta = False,
    ) -> None:
        if not crons:
            raise SpinnerDagError("A cron timetable has no expression.", "Pass at least one, such as '0 6 * * *'.")
        self.expressions = [check_cron(cron) for cron in crons]
        self.timezone = timezone if isinstance(timezone, str) else zone_name(timezone)
        self.interval = interval
        self._text = ", ".join(crons)

    def text(self) -> str:
        return self._text

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import CronSchedule, Schedule

        cron = CronSchedule(expressions=self.expressions, timezone=self.timezone, run_at_tick=True)
        if self.interval:
            cron.interval.FromTimedelta(self.interval)
        return Schedule(cron=cron, text=self.text())


class CronTriggerTimetable(MultipleCronTriggerTimetable):
    """A run at each tick."""

    def __init__(
        self,
        cron: str,
        *,
        timezone: str | tzinfo,
        interval: timedelta = timedelta(),
        run_immediately: bool | timedelta = False,
    ) -> None:
        super().__init__(cron, timezone=timezone, interval=interval)


class CronPartitionTimetable(CronTriggerTimetable):
    """A run at each tick, for the partition whose key is the tick's time in ``key_format``.

    ``run_offset`` is added before: with ``timedelta(days=-1)`` today's run is about yesterday's partition.
    """

    def __init__(
        self,
        cron: str,
        *,
        timezone: str | tzinfo,
        run_offset: timedelta = timedelta(),
        key_format: str = "%Y-%m-%dT%H:%M:%S",
        run_immediately: bool | timedelta = False,
    ) -> None:
        super().__init__(cron, timezone=timezone, run_immediately=run_immediately)
        if not isinstance(run_offset, timedelta):
            raise SpinnerDagError(
                f"CronPartitionTimetable has run_offset={run_offset!r}.",
                "Use a timedelta, such as timedelta(hours=-1).",
            )
        if not key_format:
            raise SpinnerDagError("CronPartitionTimetable has no key_format.", "Use one such as '%Y-%m-%d'.")
        self.run_offset = run_offset
        self.key_format = key_format

    def to_schedule(self) -> Schedule:
        schedule = super().to_schedule()
        schedule.cron.partition_format = self.key_format
        if self.run_offset:
            schedule.cron.partition_offset.FromTimedelta(self.run_offset)
        return schedule


class DeltaDataIntervalTimetable(Timetable):
    """A run for each period, starting at its end; a relativedelta may have months and years."""

    needs_start_date = True
    run_at_tick = False

    def __init__(self, delta: Any, timezone: str | tzinfo = "UTC") -> None:
        self.period, self.months = _period(delta)
        self.timezone = timezone if isinstance(timezone, str) else zone_name(timezone)
        self._text = f"every {delta}" if not self.months else f"every {delta!r}"

    def text(self) -> str:
        return self._text

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import DeltaSchedule, Schedule

        delta = DeltaSchedule(timezone=self.timezone, months=self.months, run_at_tick=self.run_at_tick)
        delta.period.FromTimedelta(self.period)
        return Schedule(delta=delta, text=self.text())


class DeltaTriggerTimetable(DeltaDataIntervalTimetable):
    """A run at each tick of a period; the interval before it is ``interval`` long (zero by default)."""

    run_at_tick = True

    def __init__(self, delta: Any, timezone: str | tzinfo = "UTC", *, interval: timedelta = timedelta()) -> None:
        super().__init__(delta, timezone)
        self.interval = interval

    def to_schedule(self) -> Schedule:
        schedule = super().to_schedule()
        schedule.delta.interval.FromTimedelta(self.interval)
        return schedule


class AssetTriggeredTimetable(Timetable):
    """A run when the assets were updated."""

    def __init__(self, assets: BaseAsset | Sequence[BaseAsset]) -> None:
        self.condition = assets if isinstance(assets, BaseAsset) else AssetAll(*assets)

    def assets(self) -> list[Asset | AssetAlias]:
        return list(self.condition.leaves())

    def text(self) -> str:
        return f"assets: {', '.join(dict.fromkeys(item.name for item in self.assets()))}"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import AssetSchedule, Schedule

        return Schedule(assets=AssetSchedule(expression=self.condition.to_expression()), text=self.text())


class PartitionedAssetTimetable(AssetTriggeredTimetable):
    """A run for each partition, when it was updated in all assets that the condition asks for."""

    def __init__(
        self,
        *,
        assets: BaseAsset | Sequence[BaseAsset],
        default_partition_mapper: PartitionMapper | None = None,
        partition_mapper_config: Mapping[BaseAsset, PartitionMapper] | None = None,
    ) -> None:
        super().__init__(assets)
        self.default_partition_mapper = default_partition_mapper or IdentityMapper()
        self.partition_mapper_config = {
            leaf.name: mapper for asset, mapper in (partition_mapper_config or {}).items() for leaf in asset.leaves()
        }
        named = {leaf.name for leaf in self.assets()}
        for name in self.partition_mapper_config.keys() - named:
            raise SpinnerDagError(
                f"PartitionedAssetTimetable has a mapper for {name!r}, which it does not wait for.",
                f"Use one of {', '.join(sorted(named))}.",
            )

    def text(self) -> str:
        return f"partitions of {super().text()}"

    def to_schedule(self) -> Schedule:
        schedule = super().to_schedule()
        schedule.assets.partitioned = True
        schedule.assets.default_mapper.CopyFrom(self.default_partition_mapper.to_message())
        for name, mapper in sorted(self.partition_mapper_config.items()):
            schedule.assets.mappers[name].CopyFrom(mapper.to_message())
        return schedule


class AssetOrTimeSchedule(AssetTriggeredTimetable):
    """A run when the assets were updated, and at the times of ``timetable``."""

    def __init__(self, *, timetable: Any, assets: BaseAsset | Sequence[BaseAsset]) -> None:
        super().__init__(assets)
        self.timetable = timetable_of(timetable, "UTC", "AssetOrTimeSchedule")
        if isinstance(self.timetable, AssetTriggeredTimetable | NullTimetable):
            raise SpinnerDagError(
                "AssetOrTimeSchedule has a timetable without times.",
                "Pass a CronTriggerTimetable or another timetable.",
            )
        self.needs_start_date = self.timetable.needs_start_date

    def text(self) -> str:
        return f"{self.timetable.text()}, or {super().text()}"

    def to_schedule(self) -> Schedule:
        schedule = super().to_schedule()
        schedule.assets.or_time.CopyFrom(self.timetable.to_schedule())
        return schedule


DatasetOrTimeSchedule = AssetOrTimeSchedule


class EventsTimetable(Timetable):
    """Runs at given times."""

    def __init__(
        self,
        event_dates: Sequence[datetime],
        restrict_to_events: bool = False,
        presorted: bool = False,
        description: str | None = None,
    ) -> None:
        if not event_dates:
            raise SpinnerDagError("An EventsTimetable has no events.", "Pass at least one datetime.")
        self.event_dates = sorted({as_utc(date) for date in event_dates})
        self.description = description or f"{len(self.event_dates)} events"

    def text(self) -> str:
        return self.description

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import ExplicitSchedule, Interval, Schedule

        explicit = ExplicitSchedule()
        for date in self.event_dates:
            interval: Interval = explicit.intervals.add()
            for field in (interval.logical_date, interval.start, interval.end, interval.run_after):
                field.FromDatetime(date)
        return Schedule(explicit=explicit, text=self.text())


def timetable_of(schedule: Any, timezone: str, where: str) -> Timetable:
    """The timetable that ``schedule=`` means. Raises SpinnerDagError."""
    if schedule is None:
        return NullTimetable()
    if isinstance(schedule, Timetable):
        return schedule
    if isinstance(schedule, BaseAsset):
        return AssetTriggeredTimetable(schedule)
    if isinstance(schedule, list | tuple | set) and schedule and all(isinstance(x, BaseAsset) for x in schedule):
        return AssetTriggeredTimetable(schedule if not isinstance(schedule, set) else sorted(schedule, key=repr))
    if isinstance(schedule, str):
        if schedule == "@once":
            return OnceTimetable()
        if schedule == "@continuous":
            return ContinuousTimetable()
        if schedule.lower() in ("none", "@none"):
            return NullTimetable()
        return CronDataIntervalTimetable(check_cron(schedule, where), timezone, schedule)
    if isinstance(schedule, timedelta) or type(schedule).__name__ == "relativedelta":
        return DeltaDataIntervalTimetable(schedule, timezone)
    raise SpinnerDagError(
        f"{where} has schedule={schedule!r}, which is no schedule.",
        "Use a cron string, a preset, a timedelta, assets, a timetable of spinner.timetables, or None.",
    )


def _period(delta: Any) -> tuple[timedelta, int]:
    if isinstance(delta, timedelta):
        period, months = delta, 0
    else:
        months = delta.months + 12 * delta.years
        period = timedelta(
            days=delta.days, hours=delta.hours, minutes=delta.minutes, seconds=delta.seconds,
            microseconds=delta.microseconds,
        )  # fmt: skip
    if period < timedelta(0) or months < 0 or (not period and not months):
        raise SpinnerDagError(f"The schedule {delta!r} is not longer than zero.", "Use a positive period.")
    return period, months
