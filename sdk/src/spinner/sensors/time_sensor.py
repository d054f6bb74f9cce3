"""Wait until a time of day."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from spinner.core.operator import Context
from spinner.core.times import as_utc
from spinner.sensors.date_time import MomentSensor


class TimeSensor(MomentSensor):
    """Waits until ``target_time`` of the day on which the try started, in the DAG's time zone."""

    def __init__(self, *, target_time: time, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_time = target_time

    def moment(self, context: Context) -> datetime:
        zone = self.target_time.tzinfo or ZoneInfo(context["dag"].timezone)
        started = context["ti"].first_start_time.astimezone(zone)
        return as_utc(datetime.combine(started.date(), self.target_time.replace(tzinfo=None), zone))


class TimeSensorAsync(TimeSensor):
    """The same, deferred."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"deferrable": True, **kwargs})
