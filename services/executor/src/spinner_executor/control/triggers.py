"""Deferred tries: their triggers run in triggerer processes, one for each bundle version that has any.

A triggerer that dies is started again with all its triggers: an event is seen at least once, and the scheduler drops
the second by segment and sequence. An event is reported, and only its acknowledgement ends the matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spinner_proto.inbox.v1.inbox_pb2 import TriggerFired

from spinner_executor.adapters.bundles import BundleUnavailable
from spinner_executor.adapters.local.process import without_secrets
from spinner_executor.control.context import Context
from spinner_executor.control.tries import Try
from spinner_executor.domain.clock import datetime_of
from spinner_executor.domain.model import SEQUENCE_TRIGGER_FIRED

_log = logging.getLogger(__name__)
_IDLE_SECONDS = 30.0
_MAX_BACKOFF_SECONDS = 10.0
_LINE_LIMIT = 64 * 1024 * 1024


class _Process:
    """A triggerer process for one bundle folder ("" for none), restarted while it has triggers."""

    def __init__(self, bundle_path: str, log_file: Path, on_message: Any) -> None:
        self._bundle_path = bundle_path
        self._log_file = log_file
        self._on_message = on_message
        self.wanted: dict[str, dict[str, str]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def start(self, identity: str, message: dict[str, str]) -> None:
        self.wanted[identity] = message
        self.write(message)

    def stop(self, identity: str) -> None:
        if self.wanted.pop(identity, None) is not None:
            self.write({"stop": identity})

    def write(self, message: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _run(self) -> None:
        pause = 0.1
        while True:
            begun = asyncio.get_running_loop().time()
            with self._log_file.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "spinner_executor.adapters.triggerer", self._bundle_path,
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                    limit=_LINE_LIMIT, start_new_session=True, env=without_secrets(),
                )  # fmt: skip
            self._process = process
            for message in self.wanted.values():
                self.write(message)
            try:
                assert process.stdout is not None  # noqa: S101 - PIPE was asked for
                while line := await process.stdout.readline():
                    self._on_message(self, json.loads(line))
                await process.wait()
            finally:
                self._process = None
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            _log.warning("a triggerer ended with status %s: started again", process.returncode)
            pause = (
                0.1
                if asyncio.get_running_loop().time() - begun > _IDLE_SECONDS
                else min(2 * pause, _MAX_BACKOFF_SECONDS)
            )
            await asyncio.sleep(pause)


class Triggers:
    """All triggers of the owned partitions. Runs on the event loop."""

    def __init__(self, context: Context, log_file: Path) -> None:
        self._context = context
        self._log_file = log_file
        self._processes: dict[str, _Process] = {}
        self._tries: dict[str, Try] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def start(self, tried: Try) -> None:
        """Waits for the trigger of the try's deferred order."""
        self._forget(tried.key)
        identity = f"{tried.key}#{tried.order.segment}"
        self._tries[identity] = tried
        timeout = datetime_of(tried.order.trigger_timeout_time)
        if timeout is not None:
            wait = max(0.0, (timeout - datetime.now(UTC)).total_seconds())
            self._timers[identity] = asyncio.get_running_loop().call_later(
                wait, self._fire, identity, TriggerFired(error="timeout")
            )
        self._context.spawn(self._begin(identity, tried))
        self._context.metrics.deferred.set(len(self._tries))

    async def _begin(self, identity: str, tried: Try) -> None:
        order = tried.order
        path = ""
        if order.HasField("bundle") and order.bundle.object_key:
            try:
                path = str(await self._context.bundles.path(order.bundle))
            except BundleUnavailable as error:
                self._fire(identity, TriggerFired(error=str(error)))
                return
        if identity not in self._tries:
            return
        process = self._processes.get(path)
        if process is None:
            process = self._processes[path] = _Process(path, self._log_file, self._heard)
        message = {
            "start": identity,
            "class": order.trigger_class,
            "arguments": order.trigger_arguments_json.decode(),
        }
        process.start(identity, message)

    def _heard(self, process: _Process, message: dict[str, Any]) -> None:
        if "fired" in message:
            self._fire(message["fired"], TriggerFired(payload_json=message["payload"].encode()))
        else:
            self._fire(message["failed"], TriggerFired(error=message["error"]))

    def _fire(self, identity: str, fired: TriggerFired) -> None:
        tried = self._tries.get(identity)
        if tried is None:
            return
        self._release(identity)
        report = self._context.report_of(tried, SEQUENCE_TRIGGER_FIRED, int(identity.rpartition("#")[2]))
        report.trigger_fired.CopyFrom(fired)
        self._context.spawn(self._context.reporter.report(tried.order, report, tried.traceparent))

    def stop(self, key: str) -> None:
        """No trigger of this try is waited for any more."""
        self._forget(key)

    def _forget(self, key: str) -> None:
        for identity in [identity for identity, tried in self._tries.items() if tried.key == key]:
            self._release(identity)

    def _release(self, identity: str) -> None:
        self._tries.pop(identity, None)
        timer = self._timers.pop(identity, None)
        if timer is not None:
            timer.cancel()
        for process in self._processes.values():
            process.stop(identity)
        self._context.metrics.deferred.set(len(self._tries))
        asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        for path, process in list(self._processes.items()):
            if not process.wanted:
                process.task.cancel()
                del self._processes[path]

    async def close(self) -> None:
        tasks = [process.task for process in self._processes.values()]
        self._processes.clear()
        for timer in self._timers.values():
            timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
