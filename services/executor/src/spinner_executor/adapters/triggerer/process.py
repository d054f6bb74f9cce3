"""The executor's end of one triggerer process: starts it again while it has triggers, looks after it, hears it.

A process on another machine is a child here, too, that passes everything on (`elsewhere`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from spinner_executor.adapters.local.process import without_secrets
from spinner_executor.adapters.triggerer.__main__ import LINE_LIMIT
from spinner_executor.adapters.triggerer.ledger import SLOTS, Ledger, new_descriptor
from spinner_executor.adapters.triggerer.tunnel import HOST_LOST
from spinner_executor.domain.triggerers import Death, Fault, Looks

_log = logging.getLogger(__name__)
_HERE = "spinner_executor.adapters.triggerer"
_ELSEWHERE = f"{_HERE}.elsewhere"
_STEADY_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 10.0
_STACK_SECONDS = 0.5
_STACK_LINES = 12


class Listener(Protocol):
    """Who hears of a process; on the event loop."""

    def heard(self, process: TriggererProcess, message: dict[str, Any]) -> None:
        """A message of the process."""

    def died(self, process: TriggererProcess, death: Death) -> bool:
        """It is gone, and its watches with it. May take triggers away; True when the cause is gone with them."""


class TriggererProcess:
    """A process for triggers of one bundle folder ("": none). `alone`: for those that harm others.

    `elsewhere`: variables that say where triggerers run, if not here.
    """

    def __init__(
        self,
        folder: str,
        log_file: Path,
        limit_bytes: int,
        listener: Listener,
        alone: bool = False,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.alone = alone
        self._elsewhere = elsewhere or {}
        self.limit_bytes = limit_bytes
        self._log_file = log_file
        self._listener = listener
        self._wanted: dict[str, dict[str, Any]] = {}
        self._slots: dict[int, str] = {}
        self._free = list(range(SLOTS - 1, -1, -1))
        self._process: asyncio.subprocess.Process | None = None
        self._ledger: Ledger | None = None
        self._stack = -1
        self._looks = Looks()
        self._ending: tuple[Fault, str | None, str] | None = None
        self.deaths: list[float] = []
        self.idle_since: float | None = None
        self.watches: dict[int, Callable[[], None]] = {}
        self.task = asyncio.get_running_loop().create_task(self._run())

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def identities(self) -> list[str]:
        return list(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)

    def start(self, identity: str, trigger_class: str, arguments: str, more: dict[str, Any] | None = None) -> None:
        """Starts a trigger; `more` is what a watcher's is told, empty for others."""
        slot = self._free.pop()
        self._slots[slot] = identity
        message = {"start": identity, "slot": slot, "class": trigger_class, "arguments": arguments, "more": more or {}}
        self._wanted[identity] = message
        self.idle_since = None
        self.write(message)

    def stop(self, identity: str) -> None:
        message = self._wanted.pop(identity, None)
        if message is None:
            return
        del self._slots[message["slot"]]
        self._free.append(message["slot"])
        if not self._wanted:
            self.idle_since = asyncio.get_running_loop().time()
        self.write({"stop": identity})

    def message(self, identity: str) -> dict[str, Any]:
        """What the trigger was started with."""
        return self._wanted[identity]

    def write(self, message: dict[str, Any]) -> None:
        """Sends a message, if the process lives."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _run(self) -> None:
        pause, loop = _FIRST_PAUSE_SECONDS, asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                death = await self._live()
            except OSError as error:
                _log.warning("a triggerer cannot be started yet: %s", error)
                await asyncio.sleep(_MAX_PAUSE_SECONDS)
                continue
            _log.warning("a triggerer with %d triggers ended with status %s", len(self), death.status)
            lost = death.status == HOST_LOST
            if not lost:
                self.deaths = [*self.deaths[-8:], loop.time()]
            for unwatch in self.watches.values():
                unwatch()
            self.watches.clear()
            cured = lost or self._listener.died(self, death)
            steady = cured or loop.time() - begun > _STEADY_SECONDS
            pause = _FIRST_PAUSE_SECONDS if steady else min(2 * pause, _MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _live(self) -> Death:
        """One life of the process."""
        self._stack, ledger = _scratch(), new_descriptor()
        self._ledger, self._looks, self._ending = Ledger(ledger), Looks(), None
        try:
            with self._log_file.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", _ELSEWHERE if self._elsewhere else _HERE, self.folder,
                    str(ledger), str(self._stack), str(2 * self.limit_bytes),
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE_LIMIT,
                    start_new_session=True, env={**without_secrets(), **self._elsewhere},
                    pass_fds=(ledger, self._stack),
                )  # fmt: skip
        finally:
            os.close(ledger)
        self._process = process
        try:
            for message in self._wanted.values():
                self.write(message)
            await self._listen(process)
            status = await process.wait()
            return self._death(status)
        finally:
            self._process = None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
            self._ledger.close()
            self._ledger = None
            os.close(self._stack)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        while True:
            try:
                line = await process.stdout.readline()
                if not line:
                    return
                message = json.loads(line)
            except ValueError as error:
                _log.error("a triggerer said what cannot be read: %s", error)
                self.kill()
                return
            self._listener.heard(self, message)

    def _death(self, status: int) -> Death:
        assert self._ledger is not None  # noqa: S101 - it lives as long as the process
        slot = self._ledger.step().slot
        grower, grown = self._ledger.largest_growth()
        fault, culprit, stack = self._ending or (None, None, "")
        return Death(
            status,
            None if slot is None else self._slots.get(slot),
            self._slots.get(grower),
            grown,
            fault,
            culprit,
            stack,
        )

    def kill(self, fault: Fault | None = None, culprit: str | None = None, stack: str = "") -> None:
        """Ends the process and all that it started; it is started again."""
        if self._process is not None:
            if fault is not None:
                self._ending = fault, culprit, stack
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def blocked(self) -> str | None:
        """The trigger that has had the loop for too long. To be asked each half second."""
        if self._ledger is None or self._process is None:
            return None
        step = self._ledger.step()
        if not self._looks.blocked(step.number, step.slot, asyncio.get_running_loop().time()):
            return None
        return None if step.slot is None else self._slots.get(step.slot)

    @property
    def resident_bytes(self) -> int:
        """What the process holds; 0 where the system doesn't tell."""
        pid = self.pid
        if self._elsewhere:
            return 0 if self._ledger is None else self._ledger.resident_bytes
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    async def stack(self) -> str:
        """What the main thread of the process is doing: innermost frames first."""
        process = self._process
        if process is None:
            return ""
        begun = os.fstat(self._stack).st_size
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)
        deadline = asyncio.get_running_loop().time() + _STACK_SECONDS
        text = ""
        while asyncio.get_running_loop().time() < deadline and process is self._process:
            await asyncio.sleep(0.02)
            fresh = os.pread(self._stack, 1 << 20, begun).decode(errors="replace")
            if fresh and fresh == text:
                break
            text = fresh
        main = text.rpartition("(most recent call first):\n")[2]
        return "\n".join(main.splitlines()[:_STACK_LINES])

    async def close(self) -> None:
        """Ends the process for good."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for unwatch in self.watches.values():
            unwatch()


def _scratch() -> int:
    """A file of its own without a name."""
    descriptor, path = tempfile.mkstemp(prefix="spinner-triggerer-")
    os.unlink(path)  # noqa: PTH108
    return descriptor
