"""A live try in the executor's memory: its situation (for the domain) and what the shell holds for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spinner_proto.common.v1.common_pb2 import Stage, Usage
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_executor.adapters.journal import Journal
from spinner_executor.adapters.logs import TryLog
from spinner_executor.domain.masking import Masker
from spinner_executor.domain.model import Situation
from spinner_executor.domain.prediction import UNKNOWN, Memory


@dataclass(slots=True)
class Try:
    """One order and everything that belongs to it. Touched only on the event loop."""

    key: str
    partition: int
    order: TaskOrder
    situation: Situation
    log: TryLog
    journal: Journal
    traceparent: str = ""
    worker: str = ""
    token: str = ""
    # What the worker was launched with, and what the definition says.
    memory: Memory = UNKNOWN
    configured_memory: Memory = UNKNOWN
    launched_time: datetime | None = None
    started_time: datetime | None = None
    # Its worker is made, but does not run yet: there is no lease to be kept.
    starting: bool = False
    granting: asyncio.Future[None] | None = None
    bundle: asyncio.Task[Path] | None = None
    xcoms_cleared: asyncio.Future[int] | None = None
    # Its log may have grown: the worker writes it itself, or has sent some.
    logging: bool = True
    # Event-loop time of the latest word from the worker.
    heard: float = 0.0
    # Calls of the worker that are being answered: while it waits for us it cannot send a heartbeat.
    calls: int = 0
    usage: Usage | None = None
    stage: Stage.ValueType = Stage.STAGE_UNSPECIFIED
    end: TaskReport | None = None
    # Done when the end's report is acknowledged.
    end_done: asyncio.Future[None] | None = None
    uploaded_bytes: int = -1
    # Done when the log that follows its end is in the object store.
    uploading: asyncio.Future[None] | None = None
    # Sends the report of the start, which may wait a moment for the end.
    start_timer: asyncio.TimerHandle | None = None
    start_report: TaskReport | None = None
    trimming: bool = False
    # Who follows its log; they may read it to the end after it is over.
    readers: int = 0
    lease_timer: asyncio.TimerHandle | None = None
    kill_timer: asyncio.TimerHandle | None = None
    removed: bool = False

    @property
    def masker(self) -> Masker:
        return self.log.masker
