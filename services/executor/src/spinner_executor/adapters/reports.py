"""Reports to the schedulers' inboxes, and other plain records: idempotent producer, acknowledged before it counts.

What nobody waits for (log chunks, usage) gathers for a moment: the broker works by the request rather than the record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from spinner_eventlog.interface import Outgoing, Producer, RecordTooLarge
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

_log = logging.getLogger(__name__)
_MAX_BACKOFF_SECONDS = 2.0
_GATHER_SECONDS = 0.25

Sent = Coroutine[Any, Any, None]


class Reporter:
    """Runs on the event loop."""

    def __init__(self, producer: Producer, loop: asyncio.AbstractEventLoop) -> None:
        self._producer = producer
        self._loop = loop
        self._gathered: list[Outgoing] = []
        # Starts, until the next report or the loop's next turn.
        self._held: list[tuple[Outgoing, asyncio.Future[Exception | None]]] = []

    def report(self, order: TaskOrder, report: TaskReport, traceparent: str = "") -> Sent:
        """Sends a report to the inbox that the order names; awaiting what it returns waits until that is durable.

        Reports reach an inbox in the order of these calls. That of a start, which nobody waits for, shares a request
        with what is sent in the same turn of the event loop: the end of a short try.
        """
        outgoing = Outgoing(
            order.reply_topic,
            order.try_key.dag_id,
            InboxMessage(task_report=report),
            order.reply_partition,
            {"traceparent": traceparent} if traceparent else {},
        )
        return self._until_written(outgoing, (self._hold if report.HasField("started") else self._sent)(outgoing))

    def send(self, outgoing: Outgoing) -> Sent:
        """Sends a record now; awaiting it repeats that until Kafka has it, and raises RecordTooLarge."""
        return self._until_written(outgoing, self._sent(outgoing))

    def _hold(self, outgoing: Outgoing) -> asyncio.Future[Exception | None]:
        done: asyncio.Future[Exception | None] = self._loop.create_future()
        if not self._held:
            self._loop.call_soon(self._release)
        self._held.append((outgoing, done))
        return done

    def _sent(self, outgoing: Outgoing) -> asyncio.Future[Exception | None]:
        done: asyncio.Future[Exception | None] = self._loop.create_future()
        self._held.append((outgoing, done))
        self._release()
        return done

    def _release(self) -> None:
        held, self._held = self._held, []
        self._producer.send_together([(outgoing, partial(self._delivered, done)) for outgoing, done in held])

    def _delivered(self, done: asyncio.Future[Exception | None], error: Exception | None, _offset: int) -> None:
        """On the library's thread. A full queue and a dead broker are both "later"."""
        self._loop.call_soon_threadsafe(_settle, done, error)

    async def _until_written(self, outgoing: Outgoing, done: asyncio.Future[Exception | None]) -> None:
        pause = 0.05
        while (error := await done) is not None:
            if isinstance(error, RecordTooLarge):
                raise error
            _log.warning("record for %s is not written yet: %s", outgoing.topic, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_BACKOFF_SECONDS)
            done = self._sent(outgoing)

    def post(self, outgoing: Outgoing) -> None:
        """Queues a record whose loss is bearable (log chunks). Any thread."""
        self._loop.call_soon_threadsafe(self._gather, outgoing)

    def _gather(self, outgoing: Outgoing) -> None:
        if not self._gathered:
            self._loop.call_later(_GATHER_SECONDS, self.flush)
        self._gathered.append(outgoing)

    def flush(self) -> None:
        """Sends what has gathered."""
        self._release()
        gathered, self._gathered = self._gathered, []
        for outgoing in gathered:
            try:
                self._producer.send(outgoing)
            except Exception as error:  # noqa: BLE001 - the final object has the text anyway
                _log.warning("record for %s is dropped: %s", outgoing.topic, error)


def _settle(done: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not done.done():
        done.set_result(error)
