"""One heap of everything that will happen by itself.

Entries are never removed when they become void: whoever pops one checks against the state whether it still
applies. The heap is rebuilt from the state when void entries prevail, so its size follows the number of live timers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    NEXT_RUN = 1
    RETRY = 2
    RUN_TIMEOUT = 3
    EXECUTION_TIMEOUT = 4
    TRIGGER_TIMEOUT = 5
    QUEUED_TIMEOUT = 6
    # Of a run; slot is the position of the deadline.
    DEADLINE = 7
    DEADLINE_RISK = 8
    # Of an asset, whose name is in run_id.
    FRESHNESS = 9


class Timer(NamedTuple):
    due: int
    kind: int
    dag_id: str
    run_id: str = ""
    slot: int = -1
    try_number: int = 0
    segment: int = 0


class Timers:
    """A heap by due time (µs), then by content, so that two equal states pop in the same order."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._compact_at = 10_000

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, timer: Timer) -> None:
        heapq.heappush(self._heap, timer)

    def next_due(self) -> int:
        """When the first is due, 0 without any."""
        return self._heap[0].due if self._heap else 0

    def pop_due(self, now: int) -> Timer | None:
        """Takes the first timer that is due at `now`."""
        if self._heap and self._heap[0].due <= now:
            return heapq.heappop(self._heap)
        return None

    def compact(self, applies: Callable[[Timer], bool]) -> None:
        """Drops void entries, if there may be many."""
        if len(self._heap) < self._compact_at:
            return
        self.replace(timer for timer in self._heap if applies(timer))
        self._compact_at = max(10_000, 2 * len(self._heap))

    def replace(self, timers: Iterable[Timer]) -> None:
        self._heap = sorted(set(timers))
