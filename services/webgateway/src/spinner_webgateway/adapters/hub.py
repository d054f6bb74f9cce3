"""Tells those who wait that something was committed: pages by SSE, commands for their answer, watchers of runs.

The projection publishes from its thread; waiting happens in the event loop. A waiter always looks into the
database after it subscribed and again at each signal, so a signal can be merged with others but never lost.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spinner_webgateway.domain.changes import Change


class Subscription:
    """Merged changes since they were last taken."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wanted: Callable[[Change], Change | None]) -> None:
        self._loop = loop
        self._wanted = wanted
        self._pending = Change()
        self._lock = threading.Lock()
        self._signal = asyncio.Event()

    def offer(self, change: Change) -> None:
        """Called from any thread."""
        part = self._wanted(change)
        if part is None:
            return
        with self._lock:
            self._pending.merge(part)
        self._loop.call_soon_threadsafe(self._signal.set)

    async def take(self, timeout_seconds: float) -> Change | None:
        """Waits for a change and returns what gathered; None after the time-out."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._signal.wait()
        except TimeoutError:
            return None
        with self._lock:
            self._signal.clear()
            taken, self._pending = self._pending, Change()
        return taken


class ChangeHub:
    """Fans committed changes out to subscriptions. Thread-safe."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()
        # Commands that somebody waits for, by request id, and a signal that there are some.
        self._awaited: Counter[str] = Counter()
        self.hurry = threading.Event()

    def publish(self, change: Change) -> None:
        if not change:
            return
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.offer(change)

    @contextmanager
    def subscribe(self, wanted: Callable[[Change], Change | None]) -> Iterator[Subscription]:
        """Subscribes while the block runs. `wanted` picks the part of a change that counts, None for nothing."""
        subscription = Subscription(asyncio.get_running_loop(), wanted)
        with self._lock:
            self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    @contextmanager
    def awaiting(self, request_id: str) -> Iterator[None]:
        """While the block runs somebody waits for the answer to this command, so it should be told without delay."""
        with self._lock:
            self._awaited[request_id] += 1
            self.hurry.set()
        try:
            yield
        finally:
            with self._lock:
                self._awaited[request_id] -= 1
                if not self._awaited[request_id]:
                    del self._awaited[request_id]
                if not self._awaited:
                    self.hurry.clear()

    def is_awaited(self, request_id: str) -> bool:
        return request_id in self._awaited

    @property
    def subscriber_count(self) -> int:
        return len(self._subscriptions)
