"""The order partitions that this executor owns, and the fenced grants that prove it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from spinner_eventlog.interface import Fenced, TransactionalProducer
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskGrant

from spinner_executor.adapters.grants import GrantWriter
from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Partition:
    grants: GrantWriter
    keys: set[str] = field(default_factory=set)


class Ownership:
    """Owned partitions with the keys of their tries. `on_fenced(partition)`: another executor owns it now."""

    def __init__(self, context: Context, on_fenced: Callable[[int], None]) -> None:
        self._context = context
        self._on_fenced = on_fenced
        self._partitions: dict[int, _Partition] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self._partitions

    @property
    def numbers(self) -> list[int]:
        return sorted(self._partitions)

    def keys(self, partition: int) -> set[str]:
        """The keys of a partition's tries; the caller keeps them. An empty set when the partition is not owned."""
        owned = self._partitions.get(partition)
        return owned.keys if owned is not None else set()

    def take(self, partition: int, producer: TransactionalProducer, restored: Iterable[TaskGrant]) -> None:
        """`restored`: the earlier owner's grants that still hold."""
        topic = f"task_grants-{self._context.settings.cluster}"
        loop = self._context.loop
        grants = GrantWriter(producer, topic, partition, loop, lambda: self._fenced(partition, grants), restored)
        self._partitions[partition] = _Partition(grants)

    def give_up(self, partition: int) -> GrantWriter | None:
        """Forgets a partition; the caller closes its writer. None when it was not owned."""
        owned = self._partitions.pop(partition, None)
        return None if owned is None else owned.grants

    def _fenced(self, partition: int, grants: GrantWriter) -> None:
        owned = self._partitions.get(partition)
        if owned is not None and owned.grants is grants:
            _log.warning("partition %d has another owner now", partition)
            self._on_fenced(partition)

    def grant(self, tried: Try, end: TaskReport | None = None) -> asyncio.Future[None]:
        """Writes the grant of the ordered segment to the try's worker, with `end` when it is known already."""
        s, loop = tried.situation, self._context.loop
        segment, worker = s.segment, tried.worker
        grant = TaskGrant(try_key=tried.order.try_key, segment=segment, worker=worker)
        grant.time.FromDatetime(tried.started_time or datetime.now(UTC))
        if not self._context.backend.shares_files and (words := tried.masker.words):
            grant.sealed_secrets = self._context.seal(words)
        if end is not None:
            grant.end_report = end.SerializeToString()
        begun = loop.time()
        owned = self._partitions.get(tried.partition)
        if owned is None:
            refused: asyncio.Future[None] = loop.create_future()
            refused.set_exception(Fenced(f"partition {tried.partition} is not owned here"))
            refused.exception()
            return refused

        def written() -> None:
            if segment >= s.granted_segment:
                s.granted_segment, s.granted_worker = segment, worker
                self._context.metrics.grant_seconds.observe(loop.time() - begun)

        future = owned.grants.write(grant, written)
        tried.granting = future
        return future

    def forget(self, partition: int, key: str) -> None:
        """Removes the grant of a try that is over."""
        owned = self._partitions.get(partition)
        if owned is not None:
            owned.grants.forget(key)
