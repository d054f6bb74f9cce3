"""Ownership of order partitions: the group's consumer, fencing, restoring, and the feed of changes.

One thread polls. When a partition is assigned, its earlier owner is fenced first (`executor-<cluster>-<partition>`),
then grants (also those that it had not committed, see `adapters.grants`) and orders are read to their end, and only
then the controller hears of it. Records below the restored position are dropped, so the group's committed offsets
don't matter. A partition that was fenced and yet stays assigned here is taken again after a moment: the broker also
fences who was silent for longer than a transaction may be open.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from spinner_eventlog.interface import EventLog, Fenced, Poison, Record, TransactionalProducer, Transient
from spinner_proto.orders.v1.orders_pb2 import TaskGrant, TaskOrder

from spinner_executor.domain.model import Restored

_log = logging.getLogger(__name__)
# Whoever fenced us is probably the rightful owner: the group says so within a few heartbeats.
_TAKE_AGAIN_SECONDS = 2.0


class Owner(Protocol):
    """What the feed tells; called on the event loop."""

    def assigned(self, restored: Restored, producer: TransactionalProducer) -> None: ...
    def revoked(self, partition: int) -> None: ...
    def ordered(self, partition: int, changes: Sequence[tuple[str, TaskOrder | None, str]]) -> None:
        """Changes as (try key, order or None for a tombstone, traceparent), in the partition's order."""


class OrderFeed(threading.Thread):
    """`on_poison(poison)` runs on this thread; `on_failed(error)` when the feed cannot go on."""

    def __init__(
        self,
        log: EventLog,
        cluster: str,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        on_poison: Callable[[Poison, Record], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="orders", daemon=True)
        self._log = log
        self._cluster = cluster
        self._orders = f"task_orders-{cluster}"
        self._grants = f"task_grants-{cluster}"
        self._owner = owner
        self._loop = loop
        self._on_poison = on_poison
        self._on_failed = on_failed
        self._start_at: dict[int, int] = {}
        # Fenced partitions, and when they are taken again if the group still gives them to this executor.
        self._fenced: dict[int, float] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            consumer = self._log.group_consumer(
                f"executor-{self._cluster}", [self._orders], self._assigned, self._revoked
            )
            while not self._stopping.is_set():
                try:
                    records = consumer.poll(2000, 0.5)
                except Transient as error:
                    _log.warning("orders cannot be read yet: %s", error)
                    time.sleep(0.2)
                    continue
                if records:
                    self._pass_on(records)
                self._take_again()
            consumer.close()
        except Exception as error:  # noqa: BLE001 - handed to whoever supervises the process
            _log.exception("the feed of orders failed")
            self._loop.call_soon_threadsafe(self._on_failed, error)

    def fenced(self, partition: int) -> None:
        """The partition was given up because its writer is fenced. Any thread."""
        self._fenced[partition] = time.monotonic() + _TAKE_AGAIN_SECONDS

    def _take_again(self) -> None:
        now = time.monotonic()
        for partition in [partition for partition, due in list(self._fenced.items()) if due <= now]:
            del self._fenced[partition]
            if partition in self._start_at:
                self._assigned([(self._orders, partition)])

    def stop(self) -> None:
        """Leaves the group. Blocks."""
        self._stopping.set()
        self.join(10)

    def _pass_on(self, records: Sequence[Record]) -> None:
        changes: dict[int, list[tuple[str, TaskOrder | None, str]]] = {}
        for record in records:
            if record.offset < self._start_at.get(record.partition, 1 << 62):
                continue
            order = self._decode(record)
            if order is not None or record.value is None:
                changes.setdefault(record.partition, []).append(
                    (record.key, order, record.headers.get("traceparent", ""))
                )
        for partition, found in changes.items():
            self._loop.call_soon_threadsafe(self._owner.ordered, partition, found)

    def _decode(self, record: Record) -> TaskOrder | None:
        """None for a tombstone and for what cannot be read."""
        if record.value is None:
            return None
        try:
            return record.decode(TaskOrder)
        except Poison as poison:
            self._on_poison(poison, record)
            return None

    def _assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        for _, partition in partitions:
            while not self._stopping.is_set():
                try:
                    producer = self._log.transactional_producer(f"executor-{self._cluster}-{partition}")
                    restored = self._restore(partition)
                    break
                except Transient as error:
                    _log.warning("partition %d cannot be restored yet: %s", partition, error)
                    time.sleep(0.2)
                except Fenced:
                    continue
            else:
                return
            self._start_at[partition] = restored.next_offset
            _log.info("owns orders of partition %d: %d orders", partition, len(restored.orders))
            self._loop.call_soon_threadsafe(self._owner.assigned, restored, producer)

    def _restore(self, partition: int) -> Restored:
        restored = Restored(partition)
        for record in self._log.read_all(self._grants, partition, uncommitted=True):
            restored.grants.pop(record.key, None)
            if record.value is not None:
                try:
                    restored.grants[record.key] = record.decode(TaskGrant)
                except Poison as poison:
                    self._on_poison(poison, record)
        for record in self._log.read_all(self._orders, partition):
            restored.next_offset = record.offset + 1
            order = self._decode(record)
            if order is not None:
                restored.orders[record.key] = order
                restored.traceparents[record.key] = record.headers.get("traceparent", "")
            elif record.value is None:
                restored.orders.pop(record.key, None)
        return restored

    def _revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        for _, partition in partitions:
            self._start_at.pop(partition, None)
            _log.info("gives up orders of partition %d", partition)
            self._loop.call_soon_threadsafe(self._owner.revoked, partition)
