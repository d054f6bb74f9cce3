"""Wait until a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from spinner.core.operator import Context
from spinner.core.times import as_utc
from spinner.sensors.base import BaseSensorOperator
from spinner.triggers.temporal import DateTimeTrigger


class MomentSensor(BaseSensorOperator):
    """The base of sensors that wait for a moment."""

    def moment(self, context: Context) -> datetime:
        """The moment, aware."""
        raise NotImplementedError(f"{type(self).__name__} does not implement moment().")

    def poke(self, context: Context) -> bool:
        return datetime.now(UTC) >= self.moment(context)

    def execute(self, context: Context) -> Any:
        if not self.deferrable or self.poke(context):
            return super().execute(context)
        return self.defer(
            trigger=DateTimeTrigger(self.moment(context)),
            method_name="execute_complete",
            timeout=self.remaining(context),
        )


class DateTimeSensor(MomentSensor):
    """Waits until ``target_time``, a datetime or a template of ISO format."""

    template_fields: Sequence[str] = ("target_time",)

    def __init__(self, *, target_time: str | datetime, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_time = target_time

    def moment(self, context: Context) -> datetime:
        if isinstance(self.target_time, datetime):
            return as_utc(self.target_time)
        from spinner.utils.timezone import parse

        return parse(str(self.target_time))


class DateTimeSensorAsync(DateTimeSensor):
    """The same, deferred."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"deferrable": True, **kwargs})
