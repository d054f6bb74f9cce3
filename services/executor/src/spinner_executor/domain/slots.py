"""The limit on live workers: orders wait by priority, then by age. Pure."""

from __future__ import annotations

import heapq
import itertools


class Slots:
    """Which tries may have a worker now. Not thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._ticket = itertools.count()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def ask(self, key: str, priority: int) -> bool:
        """True when `key` holds a slot now; otherwise it waits until `release` returns it."""
        if key in self._held:
            return True
        if len(self._held) < self.limit and not self._waiting:
            self._held.add(key)
            return True
        if key not in self._waiting:
            ticket = next(self._ticket)
            self._waiting[key] = ticket
            heapq.heappush(self._heap, (-priority, ticket, key))
        return False

    def take(self, key: str) -> None:
        """Counts a worker that already lives (adopted), also above the limit."""
        self._held.add(key)
        self._waiting.pop(key, None)

    def release(self, key: str) -> list[str]:
        """Frees `key`'s slot or place in the queue; returns the tries that got slots by it."""
        self._held.discard(key)
        self._waiting.pop(key, None)
        granted = []
        while self._heap and len(self._held) < self.limit:
            _, ticket, next_key = heapq.heappop(self._heap)
            if self._waiting.get(next_key) == ticket:
                del self._waiting[next_key]
                self._held.add(next_key)
                granted.append(next_key)
        return granted
