"""The log of a try: lines of the runtime and of ``logging`` say their time, stage, level and logger.

``[2026-11-27T08:00:00.123Z] {TaskExecStage} INFO logger.name: message``; everything else on stdout and stderr is raw
and belongs to the stage of the line before it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

# Text is sent at most this long after it was written.
_PUSH_SECONDS = 0.2
_PUSH_BYTES = 1 << 18

_log = logging.getLogger("spinner.runtime")
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


class LogKeeper:
    """The pipe that a worker's stdout and stderr go to, read by a process that outlives the worker.

    What comes is written to this process's own stdout, which a kubelet keeps, and to a file without a name, which the
    worker's :class:`LogSender` reads. So what is printed waits for the disk, never for an executor, and the last words
    of a worker that is killed are kept. After ``limit_bytes`` a mark says that only stdout has the rest.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self._limit = limit_bytes
        self._written = 0
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
        self._read_end, self._write_end = os.pipe()
        self.control, self._asked = socket.socketpair()

    def enter_worker(self) -> None:
        """Makes the pipe the stdout and stderr of this process, a child of the keeper's."""
        os.dup2(self._write_end, 1)
        os.dup2(self._write_end, 2)
        for descriptor in (self._write_end, self._read_end):
            os.close(descriptor)
        self._asked.close()

    def start(self) -> None:
        """Begins to keep what the child writes; call it in the parent, after the fork."""
        os.close(self._write_end)
        self.control.close()
        self._thread = threading.Thread(target=self._keep, name="log", daemon=True)
        self._thread.start()

    def finish(self, seconds: float = 2.0) -> None:
        """Waits for the end of the pipe; ``seconds`` at most, since other processes may hold it open."""
        self._thread.join(seconds)

    def _keep(self) -> None:
        sources = [self._read_end, self._asked.fileno()]
        while self._read_end in sources:
            ready = select.select(sources, [], [])[0]
            if self._read_end in ready and not self._take():
                sources.remove(self._read_end)
            if self._asked.fileno() in ready:
                if not self._asked.recv(1):
                    sources.remove(self._asked.fileno())
                    continue
                # Everything that was written before the question is taken before the answer.
                os.set_blocking(self._read_end, False)
                with contextlib.suppress(BlockingIOError):
                    while self._take():
                        pass
                os.set_blocking(self._read_end, True)
                self._asked.send(b".")

    def _take(self) -> bool:
        data = os.read(self._read_end, 1 << 16)
        _write_all(1, data)
        if data and self._written < self._limit:
            if self._written + len(data) >= self._limit:
                mark = f"[the log is longer than {self._limit} bytes; the rest is on the container's standard output]"
                data = data[: self._limit - self._written] + f"\n{mark}\n".encode()
            _write_all(self.file.fileno(), data)
            self._written += len(data)
        return bool(data)


class LogSender:
    """Sends a worker's log from its keeper's file to ``push(offset, text) -> next offset``, in a thread of its own.

    An executor that has less than was sent (it took over) says so by the next offset, and gets it again.
    """

    def __init__(self, push: Callable[[int, bytes], int], keeper: LogKeeper) -> None:
        self._push = push
        self._keeper = keeper
        self._wake = threading.Event()
        self._moved = self._closing = False
        self._thread = threading.Thread(target=self._send, name="log", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        offset, file = 0, self._keeper.file.fileno()
        while True:
            closing, asked = self._closing, self._closing or self._moved
            self._moved = False
            text = os.pread(file, _PUSH_BYTES, offset)
            # Empty when asked: the answer says whether the executor has it all.
            if text or asked:
                try:
                    following = self._push(offset, text)
                except Exception as error:  # noqa: BLE001 - a log that cannot be sent must not end the try
                    _log.warning("The log is no longer sent to the executor: %s", error)
                    return
                if following == offset and (text or closing):
                    return  # it has all of it, or wants no more
                offset = max(0, min(following, offset + len(text)))
            if len(text) < _PUSH_BYTES and not closing:
                self._wake.wait(_PUSH_SECONDS)
                self._wake.clear()

    def moved(self) -> None:
        """Another executor answers now: it is asked how much it has."""
        self._moved = True
        self._wake.set()

    def close(self, seconds: float = 60.0) -> None:
        """Sends what this process wrote so far; waits for ``seconds`` at most."""
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            self._keeper.control.settimeout(seconds)
            self._keeper.control.send(b"?")
            self._keeper.control.recv(1)
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
