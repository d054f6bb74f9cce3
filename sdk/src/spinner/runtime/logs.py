"""The log of a try: lines of the runtime and of ``logging`` say their time, stage, level and logger.

``[2026-11-27T08:00:00.123Z] {TaskExecStage} INFO logger.name: message``; everything else on stdout and stderr is raw
and belongs to the stage of the line before it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable

# Text is sent at most this long after it was written.
_PUSH_SECONDS = 0.2

_stage = "LaunchStage"


def set_stage(name: str) -> None:
    """The stage of the lines from here on."""
    global _stage
    _stage = name


class LineFormatter(logging.Formatter):
    """The format above; times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its traceback behind it."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"[{moment}.{int(record.msecs):03d}Z] {{{_stage}}} {record.levelname} {record.name}: "
        text = head + record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            text += "\n" + record.exc_text
        return text


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever ``sys.stderr`` is now; flushes stdout first, so that prints keep their order."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        super().emit(record)


def configure(level: str = "INFO") -> None:
    """Makes the root logger write lines to stderr, and nothing else."""
    handler = _StderrHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


class LogTee:
    """Copies stdout and stderr of this process to ``push(offset, text) -> next offset`` and to the old stdout.

    For workers that share no file system with their executor. One thread reads a pipe that both streams go to.
    """

    def __init__(self, push: Callable[[int, bytes], int]) -> None:
        self._push = push
        self._offset = 0
        self._pending = bytearray()
        self._original = os.dup(1)
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(write_end)
        self._read_end = read_end
        self._thread = threading.Thread(target=self._pump, name="log", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        due = 0.0
        while True:
            wait = max(0.0, due - time.monotonic()) if self._pending else None
            if select.select([self._read_end], [], [], wait)[0]:
                data = os.read(self._read_end, 1 << 16)
                if not data:
                    break
                due = due if self._pending else time.monotonic() + _PUSH_SECONDS
                self._pending += data
                os.write(self._original, data)
            if len(self._pending) >= 1 << 16 or time.monotonic() >= due:
                self._send()
                due = time.monotonic() + _PUSH_SECONDS
        self._send()

    def _send(self) -> None:
        while self._pending:
            part = bytes(self._pending[: 1 << 18])
            following = self._push(self._offset, part)
            done = max(0, min(following - self._offset, len(part)))
            if not done:
                return
            del self._pending[:done]
            self._offset += done

    def close(self, seconds: float = 10.0) -> None:
        """Sends what is left; waits for ``seconds`` at most."""

        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self._original, 1)
        os.dup2(self._original, 2)
        self._thread.join(seconds)
