"""The log of a try: lines of the runtime and of ``logging`` say their time, stage, level and logger.

``[2026-11-27T08:00:00.123Z] {TaskExecStage} INFO logger.name: message``; everything else on stdout and stderr is raw
and belongs to the stage of the line before it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

# Text is sent at most this long after it was written.
_PUSH_SECONDS = 0.2
_PUSH_BYTES = 1 << 18

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


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keeps lines of ``logging`` back; they are written only when the block raises."""
    root = logging.getLogger()
    shown = root.handlers[:]
    kept = _Keeper()
    root.handlers[:] = [kept]
    try:
        yield
    except BaseException:
        root.handlers[:] = shown
        for record in kept.records:
            root.handle(record)
        raise
    finally:
        root.handlers[:] = shown


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class LogTee:
    """Copies stdout and stderr of this process to the old stdout and to ``push(offset, text) -> next offset``.

    For workers that share no file system with their executor: the old stdout is what a kubelet keeps. Two threads: one
    reads the pipe that both streams go to and writes a file without a name; the other pushes from that file, so that
    what is printed waits for the disk, never for an executor. An executor that has less than was pushed (it took over)
    asks for it again. After ``limit_bytes`` a mark says that only stdout has the rest.
    """

    def __init__(self, push: Callable[[int, bytes], int], limit_bytes: int = 1 << 30) -> None:
        self._push = push
        self._limit = limit_bytes
        self._original = os.dup(1)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
        self._written = 0
        self._changed = threading.Condition()
        self._complete = False
        self._moved = False
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(write_end)
        self._read_end = read_end
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._keep, self._send)]
        for thread in self._threads:
            thread.start()

    def _keep(self) -> None:
        while data := os.read(self._read_end, 1 << 16):
            _write_all(self._original, data)
            if self._written >= self._limit:
                continue
            if self._written + len(data) >= self._limit:
                mark = f"[the log is longer than {self._limit} bytes; the rest is on the container's standard output]"
                data = data[: self._limit - self._written] + f"\n{mark}\n".encode()
            _write_all(self._file.fileno(), data)
            with self._changed:
                self._written += len(data)
                self._changed.notify()
        with self._changed:
            self._complete = True
            self._changed.notify()

    def _send(self) -> None:
        offset = 0
        while True:
            with self._changed:
                if offset >= self._written and not self._complete and not self._moved:
                    self._changed.wait()
                    if not self._complete:
                        self._changed.wait(_PUSH_SECONDS)
                self._moved = False
            # Empty at the end: the answer says whether the executor has it all.
            text = os.pread(self._file.fileno(), _PUSH_BYTES, offset)
            try:
                following = self._push(offset, text)
            except Exception as error:  # noqa: BLE001 - a log that cannot be sent must not end the try
                _write_all(self._original, f"The log is no longer sent to the executor: {error}\n".encode())
                return
            if following == offset and (text or self._complete):
                return  # it has all of it, or wants no more
            offset = max(0, min(following, offset + len(text)))

    def moved(self) -> None:
        """Another executor answers now: it is asked how much it has."""
        with self._changed:
            self._moved = True
            self._changed.notify()

    def close(self, seconds: float = 60.0) -> None:
        """Sends what is left; waits for ``seconds`` at most."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self._original, 1)
        os.dup2(self._original, 2)
        deadline = time.monotonic() + seconds
        # Children that still hold the pipe keep it open: they get a moment.
        self._threads[0].join(min(seconds, 5.0))
        with self._changed:
            self._complete = True
            self._changed.notify()
        self._threads[1].join(max(0.0, deadline - time.monotonic()))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
