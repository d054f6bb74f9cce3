"""Triggers of time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from spinner.core.times import as_utc
from spinner.triggers.base import BaseTrigger, TriggerEvent


class DateTimeTrigger(BaseTrigger):
    """Fires at ``moment``."""

    def __init__(self, moment: datetime) -> None:
        self.moment = as_utc(moment)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.temporal.DateTimeTrigger", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        while (left := (self.moment - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left, 60.0))
        yield TriggerEvent(self.moment)


class TimeDeltaTrigger(DateTimeTrigger):
    """Fires ``delta`` from now; kept as a moment, so that a moved triggerer does not start over."""

    def __init__(self, delta: timedelta) -> None:
        super().__init__(datetime.now(UTC) + delta)
