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
from pathlib import Path

from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.runtime.boundedlog import BoundedLog, Bounds, opened
from spinner.runtime.nodelog import NodeCopy, write_all

# Text is sent at most this long after it was written.
_PUSH_SECONDS = 0.2
_PUSH_BYTES = 1 << 18
_READ_BYTES = 1 << 16
_PIPE_BYTES = 1 << 20
_WATCH_SECONDS = 0.2

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


_handler = _StderrHandler(sys.stderr)
_handler.setFormatter(LineFormatter())


def configure(level: str = "INFO") -> None:
    """Makes the root logger write lines to stderr, and nothing else."""
    root = logging.getLogger()
    root.handlers[:] = [_handler]
    if logging.getLevelName(root.level) != level.upper():
        root.setLevel(level.upper())
    logging.captureWarnings(True)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keeps lines of ``logging`` back; they are written only when the block raises."""
    root = logging.getLogger()
    shown = root.handlers[:]
    _keeper.records.clear()
    root.handlers[:] = [_keeper]
    try:
        yield
    except BaseException:
        root.handlers[:] = shown
        for record in _keeper.records:
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


_keeper = _Keeper()


class LogWatch:
    """Keeps the log that this process and its children write within its bounds, in a thread of its own.

    It looks the more often the faster the log grows. Where it cannot (user code holds the interpreter's lock), the
    executor does it.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self._path = path
        self._bounds = bounds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="log bounds", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; the log is within its bounds when this returns."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._trim()

    def _watch(self) -> None:
        size, wait = self._trim(), _WATCH_SECONDS
        while not self._ended.wait(wait):
            before, size = size, self._trim()
            rate = (size - before) / wait
            wait = min(_WATCH_SECONDS, max(_WATCH_SECONDS / 10, self._bounds.tail / 2 / rate if rate > 0 else 1.0))

    def _trim(self) -> int:
        try:
            size = self._path.stat().st_size
            if size > self._bounds.longest:
                with opened(self._path, self._bounds) as log:
                    log.trim()
        except OSError as error:
            _log.warning("The log cannot be kept within its bounds: %s", error)
            return 0
        return size


class LogKeeper:
    """The pipe that a worker's stdout and stderr go to, read by a process that outlives the worker.

    What comes is written to a bounded log without a name, which the worker's :class:`LogSender` reads, and copied to
    this process's own stdout, which a kubelet keeps (:mod:`spinner.runtime.nodelog`). So what is printed waits for the
    disk, never for an executor or a kubelet, and the last words of a worker that is killed are kept.
    """

    def __init__(self, bounds: Bounds | None = None, bytes_per_second: int = 32 << 20, worker: str = "") -> None:
        self.bounds = bounds or Bounds()
        self._files = [tempfile.TemporaryFile(buffering=0) for _ in range(2)]  # noqa: SIM115 - live as long as this
        self.log = BoundedLog(self._files[0].fileno(), self._files[1].fileno(), self.bounds)
        self._copy = NodeCopy(self.log, worker, self.bounds.head, bytes_per_second)
        self._size = self._lines = self._since_trim = 0
        self._over = False
        self._read_end, self._write_end = os.pipe()
        self.control, self._asked = socket.socketpair()

    @classmethod
    def from_environment(cls) -> LogKeeper:
        """Bounds and pace as the executor says: SPINNER_LOG_HEAD, SPINNER_LOG_TAIL, SPINNER_LOG_RATE, in bytes."""
        usual = Bounds()
        head = int(os.environ.get("SPINNER_LOG_HEAD") or usual.head)
        tail = int(os.environ.get("SPINNER_LOG_TAIL") or usual.tail)
        rate = int(os.environ.get("SPINNER_LOG_RATE") or 32 << 20)
        return cls(Bounds(head, tail), rate, os.environ.get("SPINNER_WORKER", ""))

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
        self._copy.start()

    def finish(self, reported: bool, seconds: float = 2.0) -> None:
        """Waits for the end of the pipe; ``seconds`` at most, since other processes may hold it open and go on writing.

        ``reported``: the worker has said how it ended, so the executor has its log.
        """
        self._thread.join(seconds)
        self._over = True
        self._copy.finish(reported)

    def _keep(self) -> None:
        sources = [self._read_end, self._asked.fileno()]
        while self._read_end in sources and not self._over:
            ready = select.select(sources, [], [])[0]
            if self._read_end in ready and not self._take():
                sources.remove(self._read_end)
            if self._asked.fileno() in ready:
                if not self._asked.recv(1):
                    sources.remove(self._asked.fileno())
                    continue
                # Everything that was written before the question is taken before the answer; no more than a pipe holds.
                os.set_blocking(self._read_end, False)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(_PIPE_BYTES // _READ_BYTES):
                        if not self._take():
                            break
                os.set_blocking(self._read_end, True)
                self._asked.send(b".")

    def _take(self) -> bool:
        data = os.read(self._read_end, _READ_BYTES)
        write_all(self.log.file, data)
        self._size += len(data)
        self._lines += data.count(b"\n")
        self._copy.grown(self._size, self._lines)
        self._since_trim += len(data)
        if self._since_trim > self.bounds.tail // 2:
            self._since_trim = 0
            self.log.trim()
        return bool(data)


class LogSender:
    """Sends a worker's log from its keeper's file to ``push(request) -> next offset``, in a thread of its own.

    An executor that has less than was sent (it took over) says so by the next offset, and gets it again. Beyond the
    head it gets a piece each _PUSH_SECONDS at most; where the log outruns that, it is told what it will not get.
    """

    def __init__(self, push: Callable[[pb.PushLogRequest], int], keeper: LogKeeper) -> None:
        self._push = push
        self._keeper = keeper
        self._wake = threading.Event()
        self._moved = self._closing = False
        self._thread = threading.Thread(target=self._send, name="log", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        offset, log = 0, self._keeper.log
        while True:
            closing, asked = self._closing, self._closing or self._moved
            self._moved = False
            request = _piece(log, offset)
            # Empty when asked: the answer says whether the executor has it all.
            if request.text or request.skipped or asked:
                try:
                    following = self._push(request)
                except Exception as error:  # noqa: BLE001 - a log that cannot be sent must not end the try
                    _log.warning("The log is no longer sent to the executor: %s", error)
                    return
                if following == offset and (request.text or closing):
                    return  # it has all of it, or wants no more
                offset = max(0, min(following, request.offset + len(request.text)))
            slow = offset > log.bounds.head or len(request.text) < _PUSH_BYTES
            if slow and not closing:
                self._wake.wait(_PUSH_SECONDS)
                if not (self._closing or self._moved):
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


def _piece(log: BoundedLog, offset: int) -> pb.PushLogRequest:
    """What is to be sent next to an executor that has ``offset`` bytes."""
    while True:
        gap = log.gap()
        if gap is not None and gap.start <= offset < gap.end:
            at = gap.end
            request = pb.PushLogRequest(offset=at, skipped=True, line_ends_before=log.line_ends(at))
        else:
            at, request = offset, pb.PushLogRequest(offset=offset)
        end = at + _PUSH_BYTES if gap is None or at >= gap.end else min(at + _PUSH_BYTES, gap.start)
        request.text = os.pread(log.file, end - at, at)
        if log.gap() == gap:
            return request
