"""Partitions of assets: how the key of an update becomes the key of the run that it counts for.

Mappers are data for the scheduler, with Airflow's names and formats; a subclass with code of its own can't be one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner_proto.definitions.v1 import definitions_pb2 as pb

MAX_KEY = 250


def check_key(key: object) -> str:
    """A partition key. Raises SpinnerDagError."""
    if isinstance(key, str) and len(key) <= MAX_KEY and key.isprintable():
        return key
    raise SpinnerDagError(f"{key!r} cannot be a partition key.", f"Use at most {MAX_KEY} printable characters.")


class PartitionMapper:
    """The base of all; use one of this module's."""

    def to_message(self) -> pb.PartitionMapper:
        """The message that the scheduler reads."""
        raise SpinnerDagError(
            f"The partition mapper {type(self).__name__} is a program, which the scheduler doesn't run.",
            "Use IdentityMapper, a StartOf…Mapper or RollupMapper.",
        )


class IdentityMapper(PartitionMapper):
    """The run has the key of the update."""

    def to_message(self) -> pb.PartitionMapper:
        from spinner_proto.definitions.v1 import definitions_pb2 as pb

        return pb.PartitionMapper()


class _TimeMapper(PartitionMapper):
    period = ""
    default_output_format = ""

    def __init__(
        self,
        *,
        timezone: str = "UTC",
        input_format: str = "%Y-%m-%dT%H:%M:%S",
        output_format: str | None = None,
    ) -> None:
        self.timezone = str(timezone)
        self.input_format = input_format
        self.output_format = output_format or self.default_output_format
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise SpinnerDagError(
                f"{type(self).__name__} has the timezone {timezone!r}, which is unknown.", "Use a name such as UTC."
            ) from None

    def to_message(self) -> pb.PartitionMapper:
        from spinner_proto.definitions.v1 import definitions_pb2 as pb

        time = pb.TimePartition(
            input_format=self.input_format,
            output_format=self.output_format,
            timezone=self.timezone,
            period=pb.PartitionPeriod.Value(f"PARTITION_PERIOD_{self.period}"),
        )
        return pb.PartitionMapper(time=time)


class StartOfHourMapper(_TimeMapper):
    """The hour that the key's time is in."""

    period = "HOUR"
    default_output_format = "%Y-%m-%dT%H"


class StartOfDayMapper(_TimeMapper):
    """The day that the key's time is in."""

    period = "DAY"
    default_output_format = "%Y-%m-%d"


class StartOfWeekMapper(_TimeMapper):
    """The week, from Monday, that the key's time is in."""

    period = "WEEK"
    default_output_format = "%Y-%m-%d (W%V)"


class StartOfMonthMapper(_TimeMapper):
    """The month that the key's time is in."""

    period = "MONTH"
    default_output_format = "%Y-%m"


class StartOfQuarterMapper(_TimeMapper):
    """The quarter that the key's time is in."""

    period = "QUARTER"
    default_output_format = "%Y-Q{quarter}"


class StartOfYearMapper(_TimeMapper):
    """The year that the key's time is in."""

    period = "YEAR"
    default_output_format = "%Y"


ToHourlyMapper, ToDailyMapper, ToWeeklyMapper = StartOfHourMapper, StartOfDayMapper, StartOfWeekMapper
ToMonthlyMapper, ToQuarterlyMapper, ToYearlyMapper = StartOfMonthMapper, StartOfQuarterMapper, StartOfYearMapper


class Window:
    """The keys that a rollup needs, one for each member; use one of this module's."""

    period = ""


class HourWindow(Window):
    """The sixty minutes of an hour."""

    period = "HOUR"


class DayWindow(Window):
    """The hours of a day: 24, or 23 on the day when clocks go forward."""

    period = "DAY"


class WeekWindow(Window):
    """The seven days of a week."""

    period = "WEEK"


class MonthWindow(Window):
    """The days of a month."""

    period = "MONTH"


class QuarterWindow(Window):
    """The three months of a quarter."""

    period = "QUARTER"


class YearWindow(Window):
    """The twelve months of a year."""

    period = "YEAR"


class RollupMapper(PartitionMapper):
    """One run for a window, as soon as all keys in it have been updated.

    ``RollupMapper(upstream_mapper=StartOfDayMapper(), window=DayWindow())``: hourly keys to a daily run.
    """

    def __init__(self, *, upstream_mapper: PartitionMapper, window: Window) -> None:
        if not isinstance(upstream_mapper, _TimeMapper) or not isinstance(window, Window):
            raise SpinnerDagError(
                "RollupMapper needs a mapper and a window of time.",
                "Use RollupMapper(upstream_mapper=StartOfDayMapper(), window=DayWindow()).",
            )
        if upstream_mapper.period != window.period:
            raise SpinnerDagError(
                f"RollupMapper has {type(upstream_mapper).__name__} and {type(window).__name__}: two lengths.",
                "Use the mapper of the window's own period, such as StartOfDayMapper with DayWindow.",
            )
        self.upstream_mapper = upstream_mapper
        self.window = window

    def to_message(self) -> pb.PartitionMapper:
        message = self.upstream_mapper.to_message()
        message.time.window = message.time.period
        return message
