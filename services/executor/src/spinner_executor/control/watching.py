"""What watchers see, on its way to the scheduler: in order, at least once, and never far ahead of it.

A report has what came since the one before, and is written only when that one is durable. The order says which report
the scheduler took last; the trigger may be `MAX_AHEAD` events ahead of it, which is less than the scheduler remembers.
A trigger that is started again goes on after what came here, also when the order doesn't say so yet: one that began
without a place would otherwise find another one, and what came between is lost.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from spinner_proto.inbox.v1.inbox_pb2 import WatcherEvent, WatcherReported

from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try

MAX_AHEAD = 500
_MAX_EVENTS = 200
_MAX_BYTES = 256 * 1024
_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Feed:
    """The events of one watcher's order. Runs on the event loop."""

    context: Context
    tried: Try
    # The latest place of the trigger that came, or that of the order.
    cursor: str = ""
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    # How many events have come, and how many of them the scheduler has taken.
    came: int = 0
    taken: int = 0
    pause: float = _FIRST_PAUSE_SECONDS
    closed: bool = False
    _queue: list[WatcherEvent | str] = field(default_factory=list)
    _sending: bool = False

    @property
    def ahead(self) -> int:
        """How many events the scheduler has not taken yet."""
        return self.came - self.taken

    def add(self, event: WatcherEvent) -> None:
        """Reports an event, or that the trigger has a new place."""
        self.came += 1
        self.cursor = event.cursor or self.cursor
        self.pause = _FIRST_PAUSE_SECONDS
        self._put(event)

    def begun(self) -> None:
        """Reports that the trigger runs."""
        self._put("")

    def failed(self, error: str) -> None:
        """Reports that the trigger failed."""
        self._put(error)

    def next_pause(self) -> float:
        """How long to wait before the trigger is started again, seconds."""
        pause, self.pause = self.pause, min(2 * self.pause, _MAX_PAUSE_SECONDS)
        return pause

    def heard(self) -> int:
        """Looks at what the order says now; how many events more were taken."""
        name, _, number = self.tried.order.trigger_mark.partition("/")
        before = self.taken
        if name == self.name:
            self.taken = max(self.taken, int(number))
        return self.taken - before

    def _put(self, item: WatcherEvent | str) -> None:
        self._queue.append(item)
        if not self._sending:
            self._sending = True
            self.context.spawn(self._send())

    async def _send(self) -> None:
        try:
            sent = self.came - sum(not isinstance(item, str) for item in self._queue)
            while self._queue and not self.closed:
                said = WatcherReported(asset=self.tried.order.asset)
                room = _MAX_BYTES
                while self._queue and len(said.events) < _MAX_EVENTS and room > 0:
                    item = self._queue[0]
                    if isinstance(item, str):
                        if item and said.events:
                            break
                        del self._queue[0]
                        said.error = item
                        if item:
                            break
                        continue
                    said.events.append(item)
                    room -= item.ByteSize()
                    del self._queue[0]
                sent += len(said.events)
                said.mark = f"{self.name}/{sent}"
                report = self.context.report_of(self.tried, 0)
                report.watcher_reported.CopyFrom(said)
                await self.context.reporter.report(self.tried.order, report, self.tried.traceparent)
        finally:
            self._sending = False
