"""The limits on live workers and on the memory that they ask for: orders wait by priority, then by age. Pure.

A worker that begins needs the processor at once, and so do the services: with more beginners than cores nobody is
quick. So beginners have a limit of their own, too.

The first in the queue is never passed by a smaller one behind it, so a large order does not starve; one that asks for
more than there is runs alone.
"""

from __future__ import annotations

import heapq
import itertools


class Slots:
    """Which tries may have a worker now. Not thread-safe.

    `memory`: bytes for all together, 0 for no bound; `beginners`: workers at once that have not `settled`, likewise.
    """

    def __init__(self, limit: int, memory: int = 0, beginners: int = 0) -> None:
        self.limit = limit
        self.beginners = beginners or limit
        self.memory = memory
        self.used_memory = 0
        self._held: dict[str, int] = {}
        self._beginning: set[str] = set()
        self._waiting: dict[str, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._ticket = itertools.count()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _fits(self, size: int) -> bool:
        if len(self._held) >= self.limit or len(self._beginning) >= self.beginners:
            return False
        return not self.memory or not self._held or self.used_memory + size <= self.memory

    def _hold(self, key: str, size: int) -> None:
        self.used_memory += size - self._held.get(key, 0)
        self._held[key] = size

    def ask(self, key: str, priority: int, size: int = 0) -> bool:
        """True when `key` holds a slot now; otherwise it waits until `release` returns it. `size`: bytes."""
        if key in self._held:
            return True
        if not self._waiting and self._fits(size):
            self._hold(key, size)
            self._beginning.add(key)
            return True
        if key not in self._waiting:
            ticket = next(self._ticket)
            self._waiting[key] = ticket, size
            heapq.heappush(self._heap, (-priority, ticket, key))
        return False

    def take(self, key: str, size: int = 0) -> None:
        """Counts a worker that already lives (adopted), also above the limits."""
        self._hold(key, size)
        self._waiting.pop(key, None)

    def settled(self, key: str) -> list[str]:
        """`key`'s worker has begun, and takes its time; returns the tries that got slots by it."""
        if key not in self._beginning:
            return []
        self._beginning.discard(key)
        return self._granted()

    def release(self, key: str) -> list[str]:
        """Frees `key`'s slot or place in the queue; returns the tries that got slots by it."""
        self.used_memory -= self._held.pop(key, 0)
        self._waiting.pop(key, None)
        self._beginning.discard(key)
        return self._granted()

    def _granted(self) -> list[str]:
        granted = []
        while self._heap:
            _, ticket, next_key = self._heap[0]
            waits = self._waiting.get(next_key)
            if waits is not None and waits[0] == ticket:
                if not self._fits(waits[1]):
                    break
                del self._waiting[next_key]
                self._hold(next_key, waits[1])
                self._beginning.add(next_key)
                granted.append(next_key)
            heapq.heappop(self._heap)
        return granted
