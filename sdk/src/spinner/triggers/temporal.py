"""Triggers of time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from spinner.core.times import as_utc
from spinner.triggers.base import BaseTrigger, TriggerEvent


class DateTimeTrigger(BaseTrigger):
    """Fires at ``moment`` of the wall clock: never early, and within a second when the clock is stepped over it."""

    def __init__(self, moment: datetime) -> None:
        self.moment = as_utc(moment)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.temporal.DateTimeTrigger", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from spinner.triggers.clock import wall_clock

        await wall_clock().sleep_until(self.moment)
        yield TriggerEvent(self.moment)


class TimeDeltaTrigger(DateTimeTrigger):
    """Fires ``delta`` from now; kept as a moment, so that a moved triggerer does not start over."""

    def __init__(self, delta: timedelta) -> None:
        super().__init__(datetime.now(UTC) + delta)
