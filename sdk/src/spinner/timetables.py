"""Schedules: what an author may pass as ``schedule=``, and the message that the scheduler reads.

A cron string, a preset or a timedelta has data intervals: the run of [a, b) starts at b with logical date a. The
Trigger timetables run at the tick itself. A custom timetable lists its intervals ahead of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

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


class Timetable:
    """The base: subclasses fill a Schedule message."""

    needs_start_date = True

    def text(self) -> str:
        """What the author wrote, for people."""
        raise NotImplementedError

    def to_schedule(self) -> Schedule:
        """The message."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text()}>"


class NullTimetable(Timetable):
    """Runs only by hand."""

    needs_start_date = False

    def text(self) -> str:
        return "None"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import NoSchedule, Schedule

        return Schedule(none=NoSchedule(), text=self.text())


class OnceTimetable(Timetable):
    """One run, at start_date."""

    needs_start_date = False

    def text(self) -> str:
        return "@once"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import OnceSchedule, Schedule

        return Schedule(once=OnceSchedule(), text=self.text())


class ContinuousTimetable(Timetable):
    """The next run starts when the one before ends."""

    def text(self) -> str:
        return "@continuous"

    def to_schedule(self) -> Schedule:
        from spinner_proto.definitions.v1.definitions_pb2 import ContinuousSchedule, Schedule

        return Schedule(continuous=ContinuousSchedule(), text=self.text())


class CronDataIntervalTimetable(Timetable):
    """A run for each interval between two ticks, starting at its end."""

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


class DeltaDataIntervalTimetable(Timetable):
    """A run for each period, starting at its end; a relativedelta may have months and years."""

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
    """A run at each tick of a period."""

    run_at_tick = True


class EventsTimetable(Timetable):
    """Runs at given times."""

    needs_start_date = False

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
        "Use a cron string, a preset, a timedelta, a timetable of spinner.timetables, or None.",
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
