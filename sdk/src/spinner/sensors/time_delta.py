"""Wait some time behind the end of the data interval."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from spinner.core.operator import Context
from spinner.sensors.date_time import MomentSensor


class TimeDeltaSensor(MomentSensor):
    """Waits until ``delta`` after the end of the data interval (after run_after, when there is no interval)."""

    def __init__(self, *, delta: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delta = delta

    def moment(self, context: Context) -> datetime:
        end: datetime = context["data_interval_end"] or context["dag_run"].run_after
        return end + self.delta


class TimeDeltaSensorAsync(TimeDeltaSensor):
    """The same, deferred."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"deferrable": True, **kwargs})
