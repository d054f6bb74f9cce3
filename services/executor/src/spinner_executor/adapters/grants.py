"""Fenced writes of grants: one writer thread an owned partition, concurrent requests share a round trip.

A grant counts once the log has it, appended to a transaction that stays open (`TransactionalProducer.append`): a
former owner can append nothing more, and a new owner reads uncommitted and aborted grants too. So the commit isn't in
a start's way; it comes when the writer has nothing else to do, and keeps compaction from dropping what an abort would
leave. Until then the writer remembers what it appended: after an abort it is appended again.

While one request is on its way, others gather. Removing a grant is never urgent, so removals ride along or wait a
moment.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable

from spinner_eventlog.interface import Fenced, Outgoing, TransactionalProducer, Transient
from spinner_proto.orders.v1.orders_pb2 import TaskGrant

from spinner_executor.domain.keys import try_key_text

_log = logging.getLogger(__name__)
_LAZY_SECONDS = 0.5
# When the open transaction is committed: after this time if the writer is idle, and after that in any case.
_COMMIT_SECONDS = 1.0
_LATEST_COMMIT_SECONDS = 5.0
_MAX_BACKOFF_SECONDS = 2.0

Waiter = asyncio.Future[None]
Request = tuple[Outgoing, Waiter, Callable[[], None]]


class GrantWriter:
    """Writes to partition `partition` of `topic` as its fenced owner. Methods are called on the event loop.

    `restored`: grants of an earlier owner that still hold. They are written again, because it may not have committed
    them.
    """

    def __init__(
        self,
        producer: TransactionalProducer,
        topic: str,
        partition: int,
        loop: asyncio.AbstractEventLoop,
        on_fenced: Callable[[], None],
        restored: Iterable[TaskGrant] = (),
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._loop = loop
        self._on_fenced = on_fenced
        self._condition = threading.Condition()
        self._waiting: list[Request] = []
        self._lazy: list[Outgoing] = [self._outgoing(grant) for grant in restored]
        self._closed: Exception | None = None
        # Appended and not yet committed: the latest record of every key, and since when.
        self._open: dict[str, Outgoing] = {}
        self._opened = 0.0
        self._thread = threading.Thread(target=self._run, name=f"grants-{partition}", daemon=True)
        self._thread.start()

    def write(self, grant: TaskGrant, on_written: Callable[[], None]) -> Waiter:
        """Queues a grant. Once durable, `on_written` is called, then the future is done; it may fail with Fenced."""
        waiter: Waiter = self._loop.create_future()
        if self._closed is not None:
            waiter.set_exception(self._closed)
            waiter.exception()
            return waiter
        with self._condition:
            self._waiting.append((self._outgoing(grant), waiter, on_written))
            self._condition.notify()
        return waiter

    def forget(self, key: str) -> None:
        """Queues the tombstone of a grant."""
        with self._condition:
            self._lazy.append(Outgoing(self._topic, key, None, self._partition))
            if not self._open:  # otherwise the writer wakes up soon, to commit
                self._condition.notify()

    def close(self) -> None:
        """Writes and commits what is queued, unless fenced, and ends. Blocks."""
        with self._condition:
            self._closed = self._closed or Fenced(f"partition {self._partition} was given up")
            self._condition.notify()
        self._thread.join()
        self._producer.close()

    def _outgoing(self, grant: TaskGrant) -> Outgoing:
        return Outgoing(self._topic, try_key_text(grant.try_key), grant, self._partition)

    def _take(self) -> tuple[list[Request], list[Outgoing]]:
        """Waits until there is something to write or commit, or the end."""
        with self._condition:
            while not self._waiting and self._closed is None:
                bounds = [_LAZY_SECONDS] if self._lazy else []
                if self._open:
                    bounds.append(max(0.0, self._opened + _COMMIT_SECONDS - time.monotonic()))
                if not self._condition.wait(min(bounds, default=None)) and not self._waiting:
                    break
            taken = self._waiting, self._lazy
            self._waiting, self._lazy = [], []
            return taken

    def _run(self) -> None:
        while True:
            waiting, lazy = self._take()
            records = [request[0] for request in waiting] + lazy
            ends = self._closed is not None
            error = self._until_written(lambda records=records: self._append(records)) if records else None  # type: ignore[misc]
            if waiting:
                self._loop.call_soon_threadsafe(_resolve, waiting, error)
            if error is None and self._open and (ends or self._is_time_to_commit()):
                error = self._until_written(self._commit)
            if error is not None:
                with self._condition:
                    self._closed = error
                    rest, self._waiting = self._waiting, []
                self._loop.call_soon_threadsafe(_resolve, rest, error)
                if isinstance(error, Fenced):
                    self._loop.call_soon_threadsafe(self._on_fenced)
                return
            if ends and not self._waiting:
                return

    def _is_time_to_commit(self) -> bool:
        age = time.monotonic() - self._opened
        return age >= _LATEST_COMMIT_SECONDS or (age >= _COMMIT_SECONDS and not self._waiting)

    def _append(self, records: list[Outgoing]) -> None:
        if not self._open:
            self._opened = time.monotonic()
        self._open |= {record.key: record for record in records}
        self._producer.append(records)

    def _commit(self) -> None:
        self._producer.commit([])
        self._open.clear()

    def _until_written(self, write: Callable[[], None]) -> Exception | None:
        """Writes; after an abort everything since the last commit, again and again."""
        pause = 0.05
        while True:
            try:
                write()
                return None
            except Fenced as error:
                return error
            except Transient as error:
                if self._closed is not None:
                    return error
                _log.warning("grants of partition %d are not written yet: %s", self._partition, error)
                time.sleep(pause)
                pause = min(2 * pause, _MAX_BACKOFF_SECONDS)
                write = self._commit_again

    def _commit_again(self) -> None:
        self._producer.commit(list(self._open.values()))
        self._open.clear()


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
