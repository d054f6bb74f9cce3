"""The warm parent: imports the SDK once, then forks one bounded child for each job and watches over it.

Run as `python -m spinner_dagbag.forkserver FD MODULE…`, where FD is a connected Unix socket. A request names
an entry point (`module:function`, bytes in, bytes out), its payload and its limits; the answer says how the
child ended and carries the result, the first bytes of its output and, for a child that hung or crashed, the
stack that it had. Invariants:

- a child is in a session of its own; when it ends, whatever it left running is killed;
- the result travels over a pipe behind a random word, so output never counts as a result;
- the server never runs user code itself, and ends with all children when the socket closes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import secrets
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import psutil

from spinner_dagbag import frames
from spinner_dagbag.limits import Limits, adopt_orphans, apply, die_with_parent

_CHUNK = 1 << 18
_WATCH_SECONDS = 0.25
_TRACE_BYTES = 64 << 10


@dataclass(slots=True)
class _Job:
    id: int
    pid: int
    limits: Limits
    nonce: bytes
    started: float
    channels: dict[int, bytearray]
    result_fd: int
    output_fd: int
    trace_fd: int
    dropped: int = 0
    reason: str = ""
    watched: float = field(default=0.0)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._buffer = frames.FrameBuffer()
        self._selector = selectors.DefaultSelector()
        self._jobs: dict[int, _Job] = {}
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def run(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select(self._wait_seconds()):
                    if key.fileobj is self._control:
                        requests = frames.receive(self._control, self._buffer)
                        if requests is None:
                            return
                        for header, body in requests:
                            self._start(header, body)
                    elif key.fd == self._wake_read:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_read, 4096)
                    elif key.data is not None:
                        self._read(key.data, key.fd)
                self._enforce()
                self._reap()
        finally:
            for job in self._jobs.values():
                _kill_job(job.pid)

    def _wait_seconds(self) -> float | None:
        if not self._jobs:
            return None
        now = time.monotonic()
        return max(
            0.0, min(min(job.started + job.limits.time_seconds, job.watched) for job in self._jobs.values()) - now
        )

    def _start(self, header: dict[str, Any], payload: bytes) -> None:
        limits = Limits(**header["limits"])
        nonce = secrets.token_bytes(16)
        pipes = [os.pipe() for _ in range(3)]
        pid = os.fork()
        if pid == 0:
            inherited = [read for read, _ in pipes] + [self._wake_read, self._wake_write, self._control.fileno()]
            inherited += [fd for job in self._jobs.values() for fd in job.channels]
            _child(header["entry"], payload, limits, nonce, [write for _, write in pipes], inherited)
        for read, write in pipes:
            os.close(write)
            os.set_blocking(read, False)
        now = time.monotonic()
        result_fd, output_fd, trace_fd = (read for read, _ in pipes)
        channels = {fd: bytearray() for fd in (result_fd, output_fd, trace_fd)}
        job = _Job(header["id"], pid, limits, nonce, now, channels, result_fd, output_fd, trace_fd)
        job.watched = now + _WATCH_SECONDS
        self._jobs[pid] = job
        for fd in channels:
            self._selector.register(fd, selectors.EVENT_READ, job)

    def _read(self, job: _Job, fd: int) -> bool:
        """Takes what is in a pipe, within its bound; returns whether there was anything."""
        if fd not in job.channels:
            return False
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
            return False
        kept = job.channels[fd]
        if fd == job.result_fd:
            kept += data
            if len(kept) > job.limits.result_bytes and not job.reason:
                job.reason = "result"
                _kill_job(job.pid)
            return True
        room = (job.limits.output_bytes if fd == job.output_fd else _TRACE_BYTES) - len(kept)
        kept += data[: max(0, room)]
        job.dropped += len(data) - max(0, min(room, len(data))) if fd == job.output_fd else 0
        return True

    def _enforce(self) -> None:
        now = time.monotonic()
        for job in self._jobs.values():
            if job.reason:
                continue
            if now >= job.started + job.limits.time_seconds:
                job.reason = "time"
            elif now >= job.watched:
                job.watched = now + _WATCH_SECONDS
                job.reason = _over_bounds(job)
            if job.reason:
                _kill_job(job.pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = self._jobs.pop(pid, None)
            if job is not None:
                self._finish(job, status, usage.ru_maxrss)

    def _finish(self, job: _Job, status: int, peak: int) -> None:
        _kill_group(job.pid)
        self._kill_orphans()
        for fd in job.channels:
            while len(job.channels[job.result_fd]) <= job.limits.result_bytes and self._read(job, fd):
                pass
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
            os.close(fd)
        raw = bytes(job.channels[job.result_fd])
        framed = raw[:16] == job.nonce and len(raw) >= 24 and len(raw) == 24 + int.from_bytes(raw[16:24], "little")
        header = {
            "id": job.id,
            "completed": framed and not job.reason,
            "reason": job.reason,
            "exit_code": os.waitstatus_to_exitcode(status),
            "output": job.channels[job.output_fd].decode(errors="replace"),
            "output_dropped": job.dropped,
            "trace": job.channels[job.trace_fd].decode(errors="replace"),
            "seconds": time.monotonic() - job.started,
            "peak_bytes": peak * (1 if sys.platform == "darwin" else 1024),
        }
        self._control.sendall(frames.pack(header, raw[24:] if header["completed"] else b""))

    def _kill_orphans(self) -> None:
        """Kills what finished children left behind in sessions of its own; they are children of this process now."""
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as children:  # noqa: PTH123 - Path.read_text stats first
                pids = [int(pid) for pid in children.read().split()]
        except OSError:
            return
        for pid in pids:
            if pid not in self._jobs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _over_bounds(job: _Job) -> str:
    try:
        process = psutil.Process(job.pid)
        tree = [process, *process.children(recursive=True)]
        if len(tree) > job.limits.processes:
            return "processes"
        # Pages that a fork shares count once; asking for that is dear, so only when it can matter.
        if _sum(tree, _resident) <= job.limits.memory_bytes:
            return ""
        return "memory" if _sum(tree, _proportional) > job.limits.memory_bytes else ""
    except psutil.Error:
        return ""


def _sum(tree: list[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for member in tree:
        with contextlib.suppress(psutil.Error):
            total += measure(member)
    return total


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _proportional(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return int(getattr(full, "pss", full.uss))


def _kill_job(pid: int) -> None:
    # The group is the child's own from the first line that it runs; until then it has no descendants.
    _kill_group(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _child(
    entry: str, payload: bytes, limits: Limits, nonce: bytes, writes: list[int], inherited: list[int]
) -> NoReturn:
    code = 70
    try:
        os.setsid()
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in inherited:
            os.close(fd)
        result_fd, output_fd, trace_fd = writes
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(null)
        os.close(output_fd)
        apply(limits)
        faulthandler.enable(file=trace_fd)
        # Just before the server kills it, the child writes down where it is.
        limit = limits.time_seconds
        faulthandler.dump_traceback_later(max(limit / 2, min(limit * 0.97, limit - 0.3)), file=trace_fd)
        module, _, name = entry.partition(":")
        result = getattr(importlib.import_module(module), name)(payload)
        faulthandler.cancel_dump_traceback_later()
        framed = memoryview(nonce + len(result).to_bytes(8, "little") + result)
        while framed:
            framed = framed[os.write(result_fd, framed) :]
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may escape into the server's loop, which this process is a copy of
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    adopt_orphans()
    for name in sys.argv[2:]:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a child that needs the module will say the same, with its file's name
            traceback.print_exc()
    gc.collect()
    gc.freeze()
    _Server(control).run()


if __name__ == "__main__":
    main()
