"""Fenced writes of grants: one writer thread an owned partition, concurrent requests share a transaction.

While one transaction is in flight, requests gather; the next transaction takes them all. Removing a grant is never
urgent, so removals ride along or wait a moment.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from spinner_eventlog.interface import Fenced, Outgoing, TransactionalProducer, Transient
from spinner_proto.orders.v1.orders_pb2 import TaskGrant

from spinner_executor.domain.keys import try_key_text

_log = logging.getLogger(__name__)
_LAZY_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 2.0

Waiter = asyncio.Future[None]
Request = tuple[Outgoing, Waiter, Callable[[], None]]


class GrantWriter:
    """Writes to partition `partition` of `topic` as its fenced owner. Methods are called on the event loop."""

    def __init__(
        self,
        producer: TransactionalProducer,
        topic: str,
        partition: int,
        loop: asyncio.AbstractEventLoop,
        on_fenced: Callable[[], None],
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._loop = loop
        self._on_fenced = on_fenced
        self._condition = threading.Condition()
        self._waiting: list[Request] = []
        self._lazy: list[Outgoing] = []
        self._closed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"grants-{partition}", daemon=True)
        self._thread.start()

    def write(self, grant: TaskGrant, on_written: Callable[[], None]) -> Waiter:
        """Queues a grant. Once durable, `on_written` is called, then the future is done; it may fail with Fenced."""
        waiter: Waiter = self._loop.create_future()
        if self._closed is not None:
            waiter.set_exception(self._closed)
            waiter.exception()
            return waiter
        outgoing = Outgoing(self._topic, try_key_text(grant.try_key), grant, self._partition)
        with self._condition:
            self._waiting.append((outgoing, waiter, on_written))
            self._condition.notify()
        return waiter

    def forget(self, key: str) -> None:
        """Queues the tombstone of a grant."""
        with self._condition:
            self._lazy.append(Outgoing(self._topic, key, None, self._partition))
            self._condition.notify()

    def close(self) -> None:
        """Writes what is queued, unless fenced, and ends. Blocks."""
        with self._condition:
            self._closed = self._closed or Fenced(f"partition {self._partition} was given up")
            self._condition.notify()
        self._thread.join()
        self._producer.close()

    def _take(self) -> tuple[list[Request], list[Outgoing]] | None:
        with self._condition:
            while True:
                if self._waiting or self._closed is not None:
                    break
                if not self._lazy:
                    self._condition.wait()
                elif not self._condition.wait(_LAZY_SECONDS) and not self._waiting:
                    break
            taken = self._waiting, self._lazy
            self._waiting, self._lazy = [], []
            return taken if taken[0] or taken[1] else None

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            waiting, lazy = batch
            error = self._commit([request[0] for request in waiting] + lazy)
            self._loop.call_soon_threadsafe(_resolve, waiting, error)
            if error is not None:
                with self._condition:
                    self._closed = error
                    rest, self._waiting = self._waiting, []
                self._loop.call_soon_threadsafe(_resolve, rest, error)
                if isinstance(error, Fenced):
                    self._loop.call_soon_threadsafe(self._on_fenced)
                return

    def _commit(self, records: list[Outgoing]) -> Exception | None:
        pause = 0.05
        while True:
            try:
                self._producer.commit(records)
                return None
            except Fenced as error:
                return error
            except Transient as error:
                if self._closed is not None:
                    return error
                _log.warning("grants of partition %d are not written yet: %s", self._partition, error)
                time.sleep(pause)
                pause = min(2 * pause, _MAX_BACKOFF_SECONDS)


def _resolve(requests: list[Request], error: Exception | None) -> None:
    for _, waiter, on_written in requests:
        if error is None:
            on_written()
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # nobody may be waiting any more
