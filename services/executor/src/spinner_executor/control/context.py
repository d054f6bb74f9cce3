"""What every part of the control room works with: the adapters, one event loop, and tasks beside it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from spinner_objectstore import ObjectStore
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1.orders_pb2 import OrderKind

from spinner_executor.adapters.backend import Backend
from spinner_executor.adapters.bundles import BundleCache
from spinner_executor.adapters.reports import Reporter
from spinner_executor.adapters.usage import UsageView
from spinner_executor.control.metrics import Metrics
from spinner_executor.control.tries import Try
from spinner_executor.domain.clock import timestamp
from spinner_executor.settings import Settings

_log = logging.getLogger(__name__)


@dataclass
class Context:
    """Made once by the composition root. `advertised_address`: where others reach this executor."""

    settings: Settings
    backend: Backend
    reporter: Reporter
    bundles: BundleCache
    objects: ObjectStore
    pool: Executor
    metrics: Metrics
    usage: UsageView
    cipher: Fernet
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    advertised_address: str = ""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs a coroutine beside everything else; its failure is logged."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the controller failed", exc_info=error)

    def seal(self, secrets: list[str]) -> bytes:
        """What only executors of this cluster can read; without SPINNER_SECRET_KEY, what nobody can."""
        key = self.settings.secret_key.get_secret_value()
        return Fernet(key).encrypt(json.dumps(secrets).encode()) if key else b"-"

    def unseal(self, sealed: bytes) -> list[str]:
        """Raises ValueError when another key sealed it, or none."""
        key = self.settings.secret_key.get_secret_value()
        try:
            return list(json.loads(Fernet(key).decrypt(sealed)))
        except (InvalidToken, ValueError) as error:
            raise ValueError("its secrets were sealed with another SPINNER_SECRET_KEY than this executor's") from error

    def report_of(self, tried: Try, sequence: int, segment: int | None = None) -> TaskReport:
        """An empty report about a try's ordered segment, or about `segment`."""
        report = TaskReport(
            try_key=tried.order.try_key,
            segment=tried.order.segment if segment is None else segment,
            sequence=sequence,
            time=timestamp(datetime.now(UTC)),
            executor=self.advertised_address,
            worker=tried.worker,
        )
        if tried.order.kind == OrderKind.ORDER_KIND_CALLBACK:
            report.order = tried.order.SerializeToString()
        return report
