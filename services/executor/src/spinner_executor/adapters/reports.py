"""Reports to the schedulers' inboxes, and other plain records: idempotent producer, acknowledged before it counts."""

from __future__ import annotations

import asyncio
import logging

from spinner_eventlog.interface import Outgoing, Producer, RecordTooLarge
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

_log = logging.getLogger(__name__)
_MAX_BACKOFF_SECONDS = 2.0


class Reporter:
    """Runs on the event loop."""

    def __init__(self, producer: Producer, loop: asyncio.AbstractEventLoop) -> None:
        self._producer = producer
        self._loop = loop

    async def report(self, order: TaskOrder, report: TaskReport, traceparent: str = "") -> None:
        """Writes a report to the inbox that the order names; returns when it is durable."""
        await self.send(
            Outgoing(
                order.reply_topic,
                order.try_key.dag_id,
                InboxMessage(task_report=report),
                order.reply_partition,
                {"traceparent": traceparent} if traceparent else {},
            )
        )

    async def send(self, outgoing: Outgoing) -> None:
        """Writes a record, again and again until Kafka has it; raises RecordTooLarge."""
        pause = 0.05
        while True:
            done: asyncio.Future[Exception | None] = self._loop.create_future()

            def delivered(error: Exception | None, _offset: int, done: asyncio.Future[Exception | None] = done) -> None:
                self._loop.call_soon_threadsafe(_settle, done, error)

            try:
                self._producer.send(outgoing, delivered)
                error = await done
            except RecordTooLarge:
                raise
            except Exception as refused:  # noqa: BLE001 - a full queue and a dead broker are both "later"
                error = refused
            if error is None:
                return
            if isinstance(error, RecordTooLarge):
                raise error
            _log.warning("record for %s is not written yet: %s", outgoing.topic, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_BACKOFF_SECONDS)

    def post(self, outgoing: Outgoing) -> None:
        """Queues a record whose loss is bearable (log chunks)."""
        try:
            self._producer.send(outgoing)
        except Exception as error:  # noqa: BLE001 - the final object has the text anyway
            _log.warning("record for %s is dropped: %s", outgoing.topic, error)


def _settle(done: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not done.done():
        done.set_result(error)
