"""Runs functions over foreign code in bounded child processes, and turns every way to fail into a value.

One runner has one fork server (see `forkserver`). Thread-safe: at most `parallel` children run at a time.
When the fork server itself dies, it is started again and the jobs that it held are tried once more, one at a
time, so that a file that kills it is found and no other file suffers.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from spinner_dagbag import frames
from spinner_dagbag.limits import Limits

T = TypeVar("T")
# The services' secrets are no business of the files that they read.
_HIDDEN_ENVIRONMENT = ("SPINNER_", "AWS_", "VAULT_")
_SHOWN_ENVIRONMENT = {"SPINNER_CLUSTER", "SPINNER_ENVIRONMENT", "AWS_REGION", "AWS_DEFAULT_REGION"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    `result` is what its function returned, None when it did not. `reason` is the bound that it broke: "time",
    "memory", "processes", "result", "server" (it took the fork server down), or empty. `exit_code` is negative
    for a signal. `trace` is the stack of a child that hung or crashed, innermost call first.
    """

    result: bytes | None
    reason: str
    exit_code: int
    output: str
    output_dropped: int
    trace: str
    seconds: float
    peak_bytes: int

    @property
    def signal_name(self) -> str:
        if self.exit_code >= 0:
            return ""
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:
            return f"signal {-self.exit_code}"


class _ServerLostError(Exception):
    pass


class _Server:
    """One fork server process and the futures of the jobs that it holds."""

    def __init__(self, preload: Sequence[str], python: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [python, "-m", "spinner_dagbag.forkserver", str(theirs.fileno()), *preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_visible_environment(),
            )
        self._socket = ours
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._lost = False
        threading.Thread(target=self._read, name="dagbag-answers", daemon=True).start()

    def submit(self, job_id: int, entry: str, payload: bytes, limits: Limits) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        frame = frames.pack({"id": job_id, "entry": entry, "limits": limits.as_json()}, payload)
        with self._lock:
            if self._lost:
                raise _ServerLostError
            self._waiting[job_id] = future
            try:
                self._socket.sendall(frame)
            except OSError as error:
                del self._waiting[job_id]
                raise _ServerLostError from error
        return future

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._socket.close()

    def _read(self) -> None:
        buffer = frames.FrameBuffer()
        while (answers := frames.receive(self._socket, buffer)) is not None:
            for header, body in answers:
                with self._lock:
                    future = self._waiting.pop(header["id"], None)
                if future is not None:
                    future.set_result(_outcome(header, body))
        with self._lock:
            self._lost = True
            lost, self._waiting = self._waiting, {}
        for future in lost.values():
            future.set_exception(_ServerLostError())


class BoundedRunner:
    """Runs `module:function` entry points on payloads in bounded children. Close it, or use it in a `with`."""

    def __init__(self, preload: Sequence[str] = (), parallel: int = 2, python: str = sys.executable) -> None:
        """`preload`: modules that the fork server imports before its first fork."""
        self._preload, self._python, self.parallel = tuple(preload), python, parallel
        self._ids = itertools.count(1)
        self._slots = threading.BoundedSemaphore(parallel)
        self._retries = threading.Lock()
        self._guard = threading.Lock()
        self._server: _Server | None = None
        self._closed = False

    def start(self) -> None:
        """Starts the fork server ahead of the first job; doesn't wait for it."""
        self._running_server()

    def run(self, entry: str, payload: bytes, limits: Limits) -> Outcome:
        """Blocks until the child has ended; never raises for what the child does.

        Raises RuntimeError when the runner is closed or the fork server can't start.
        """
        with self._slots:
            try:
                return self._attempt(entry, payload, limits)
            except _ServerLostError:
                pass
            with self._retries:
                for _ in range(2):
                    with contextlib.suppress(_ServerLostError):
                        return self._attempt(entry, payload, limits)
        return Outcome(None, "server", 0, "", 0, "", 0.0, 0)

    def map(self, function: Callable[[T], Outcome], items: Iterable[T]) -> Iterator[Outcome]:
        """Applies a function that calls `run` to each item, `parallel` at a time, in order."""
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="dagbag") as pool:
            yield from pool.map(function, items)

    def close(self) -> None:
        with self._guard:
            self._closed = True
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def __enter__(self) -> BoundedRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, entry: str, payload: bytes, limits: Limits) -> Outcome:
        server = self._running_server()
        try:
            # The server enforces the limit; this bound is for a server that is itself stopped or starved.
            return server.submit(next(self._ids), entry, payload, limits).result(limits.time_seconds * 2 + 30)
        except (_ServerLostError, TimeoutError) as error:
            with self._guard:
                if self._server is server:
                    self._server = None
            server.process.kill()
            server.close()
            raise _ServerLostError from error

    def _running_server(self) -> _Server:
        with self._guard:
            if self._closed:
                raise RuntimeError("The runner is closed")
            if self._server is None:
                self._server = _Server(self._preload, self._python)
            return self._server


def _outcome(header: dict[str, Any], body: bytes) -> Outcome:
    return Outcome(
        result=body if header["completed"] else None,
        reason=header["reason"],
        exit_code=header["exit_code"],
        output=header["output"],
        output_dropped=header["output_dropped"],
        trace=header["trace"],
        seconds=header["seconds"],
        peak_bytes=header["peak_bytes"],
    )


def _visible_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _SHOWN_ENVIRONMENT or not name.startswith(_HIDDEN_ENVIRONMENT)
    }
