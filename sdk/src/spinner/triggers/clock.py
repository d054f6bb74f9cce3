"""Waiting for moments of the wall clock, thousands at once.

One heap and one timer a loop. The wall clock is looked at again at least once a second, so a moment is never missed by
more than that when the clock is stepped or the machine slept, and nothing is ever early.
"""

from __future__ import annotations

import heapq
import itertools
import time
import weakref
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Sensors import this module, and what defers nothing needs no event loop: functions that run on one import it.
    import asyncio

# A step of the clock is noticed after so many seconds at most.
LOOK_SECONDS = 1.0


class Alarm:
    """A callback at a moment, until it is cancelled."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """It will not be called any more."""
        self._callback = None

    @property
    def live(self) -> bool:
        """Whether it is still to come."""
        return self._callback is not None

    def ring(self) -> None:
        """Calls back, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class WallClock:
    """Alarms of the running loop. ``now()`` gives seconds since 1970."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def call_at(self, moment: datetime, callback: Callable[[], object]) -> Alarm:
        """Calls back once ``moment`` (aware) is there; at the loop's next turn when it is over."""
        alarm = Alarm(callback)
        heapq.heappush(self._heap, (moment.timestamp(), next(self._numbers), alarm))
        if self._heap[0][2] is alarm or self._timer is None:
            self._arm()
        return alarm

    async def sleep_until(self, moment: datetime) -> None:
        """Returns once ``moment`` (aware) is there."""
        import asyncio

        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        alarm = self.call_at(moment, wake)
        try:
            await done
        finally:
            alarm.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and not self._heap[0][2].live:
            heapq.heappop(self._heap)
        if self._heap:
            import asyncio

            left = max(0.0, self._heap[0][0] - self._now())
            self._timer = asyncio.get_running_loop().call_later(min(left, LOOK_SECONDS), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = self._now()
        try:
            while self._heap and (self._heap[0][0] <= now or not self._heap[0][2].live):
                heapq.heappop(self._heap)[2].ring()
        finally:
            self._arm()


_clocks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WallClock] = weakref.WeakKeyDictionary()


def wall_clock() -> WallClock:
    """The running loop's clock."""
    import asyncio

    loop = asyncio.get_running_loop()
    clock = _clocks.get(loop)
    if clock is None:
        clock = _clocks[loop] = WallClock()
    return clock
