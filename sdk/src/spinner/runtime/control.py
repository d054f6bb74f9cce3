"""What may interrupt a try: its time-out, its cancellation, the end of its lease.

The heartbeat thread only talks to the executor and sends signals; everything that unwinds user code happens in the
main thread.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.exceptions import TaskTerminated, TaskTimeout
from spinner.runtime.connection import CallError, shield
from spinner.runtime.logs import LogWatch
from spinner.runtime.report import Stages
from spinner.runtime.usage import meter

if TYPE_CHECKING:
    from types import FrameType

    from spinner.core.operator import BaseOperator
    from spinner.runtime.connection import Connection

_log = logging.getLogger("spinner.runtime")
_LOOK_SECONDS = 1.0
_LOG_SECONDS = 0.1


class Control:
    """Interrupts of one try. ``task`` is whose ``on_kill`` is called; ``watch`` keeps its log bounded."""

    def __init__(
        self, connection: Connection, stages: Stages, heartbeat_seconds: float, watch: LogWatch | None = None
    ) -> None:
        self._connection = connection
        self._stages = stages
        self._period = heartbeat_seconds or 5.0
        self._ended = threading.Event()
        self._watch = watch
        self.task: BaseOperator | None = None
        self.terminated = False
        # The executor said so; a pod gets SIGTERM also when somebody deletes it or its node drains.
        self.cancelled = not os.environ.get("SPINNER_POD")

    @property
    def stop_outcome(self) -> common.Outcome.ValueType:
        """What a try that was told to stop reports."""
        return common.OUTCOME_KILLED_BY_USER if self.cancelled else common.OUTCOME_DELETED

    def start(self) -> None:
        """Starts the heartbeat and listens to SIGTERM. Call it in the main thread, after the start was granted."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Ends interrupts; called before the end is reported."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._ended.set()

    def end_log(self) -> None:
        """Brings the log within its bounds, when all that the try started is over. Blocks."""
        if self._watch is not None:
            self._watch.stop()

    def _beat(self) -> None:
        due = time.monotonic() + self._period
        # Most tries are over before their log is worth a thread.
        if self._watch is not None and not self._ended.wait(min(_LOG_SECONDS, self._period)):
            self._watch.start()
        while not self._ended.wait(min(_LOOK_SECONDS, max(0.0, due - time.monotonic()))):
            meter.look()
            if time.monotonic() < due:
                continue
            due = time.monotonic() + self._period
            self._connection.lease.check()
            try:
                answer = self._connection.call(
                    "Heartbeat",
                    pb.HeartbeatRequest(usage=meter.usage(), stage=self._stages.current),
                    pb.HeartbeatResponse,
                )
            except CallError as error:
                _log.warning("The heartbeat was refused: %s", error)
                continue
            self.cancelled |= answer.cancelled
            if answer.cancelled and not self.terminated and not self._ended.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        if not self.terminated:
            self.terminated = True
            shield.interrupt(self._terminate)

    def _terminate(self) -> NoReturn:
        why = "The try was cancelled" if self.cancelled else "The worker was told to end (SIGTERM)"
        self.kill_task(why)
        raise TaskTerminated(f"{why}.")

    def kill_task(self, why: str) -> None:
        """Calls the operator's on_kill; what it raises is logged."""
        _log.warning("%s; the task's on_kill is called", why)
        if self.task is not None:
            try:
                self.task.on_kill()
            except Exception:  # noqa: BLE001 - user code
                _log.exception("on_kill failed")

    @contextmanager
    def timeout(self, seconds: float | None) -> Iterator[None]:
        """Raises TaskTimeout in the block after ``seconds``."""
        if seconds is None:
            yield
            return

        def late() -> NoReturn:
            self.kill_task(f"The execution_timeout of {seconds:g} s has passed")
            raise TaskTimeout(f"The task ran longer than its execution_timeout of {seconds:g} s.")

        signal.signal(signal.SIGALRM, lambda *_: shield.interrupt(late))
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
