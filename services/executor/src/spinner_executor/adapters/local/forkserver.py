"""The fork server: one small, single-threaded process that has the SDK imported and forks a worker a try.

It outlives its executor. Clients (an executor, its successor) connect to its Unix socket and send one JSON
object a line: `{"op": "fork", …}`, answered by `{"forked": worker, "pid": …}` or `{"failed": worker, "error": …}`.
Every bad end of a worker is first written to `exit-<worker>.json` in the try's folder, then every end is told to all
clients, so an executor that was away finds it. Workers are leaders of sessions of their own. A few are forked ahead
and wait for their assignment on a pipe, which takes the fork out of a task's way.

A worker's first act is to create `worker-<worker>.json` exclusively: a second process of the same name ends there,
and the file's absence proves that no worker of this name ever ran. No user code is imported here.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinner_executor.adapters.local.process import start_time

LINGER_SECONDS = 30.0
# Idle workers are forked again in the first calm moment, not while the machine is busy with a launch.
_CALM_SECONDS = 0.01
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


def oom_kills() -> int:
    """How many processes of this control group the kernel killed for memory; 0 where that cannot be known."""
    with contextlib.suppress(OSError, ValueError):
        for line in _CGROUP_EVENTS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


@dataclass(slots=True)
class _Child:
    pid: int
    pipe: int
    assignment: dict[str, Any] = field(default_factory=dict)


class ForkServer:
    """`entry`: "module:function" that a worker calls; `ahead`: how many idle workers to keep."""

    def __init__(self, socket_path: str, entry: str, ahead: int) -> None:
        self._path = socket_path
        self._entry = entry
        self._ahead = ahead
        self._selector = selectors.DefaultSelector()
        self._clients: dict[socket.socket, bytearray] = {}
        self._idle: list[_Child] = []
        self._working: dict[int, _Child] = {}
        self._names: dict[str, int] = {}
        self._oom_seen = oom_kills()
        self._retiring = False

    def serve(self) -> None:
        """Runs until no client was connected for LINGER_SECONDS and no worker lives."""
        module, _, function = self._entry.partition(":")
        entry = getattr(importlib.import_module(module), function)
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module("spinner.runtime").preload()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = f"{self._path}.{os.getpid()}"
        listener.bind(temporary)
        Path(temporary).chmod(0o600)
        listener.listen(16)
        Path(temporary).rename(self._path)
        listener.setblocking(False)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._retire())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._inherited = [listener.fileno(), wake_read, wake_write]
        self._run_entry = entry
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(wake_read, selectors.EVENT_READ)
        gc.collect()
        gc.freeze()
        lonely_since = time.monotonic()
        while True:
            refill = len(self._idle) < self._ahead and not self._retiring
            events = self._selector.select(_CALM_SECONDS if refill else 1.0)
            for key, _ in events:
                if key.fileobj is listener:
                    self._accept(listener)
                elif key.fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]
            self._reap()
            if refill and not events:
                self._idle.append(self._fork())
            if self._clients and not self._retiring:
                lonely_since = time.monotonic()
            elif not self._working and (self._retiring or time.monotonic() - lonely_since > LINGER_SECONDS):
                break
        self._leave(listener)

    def _leave(self, listener: socket.socket) -> None:
        listener.close()
        if not self._retiring:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
        for child in self._idle:
            os.close(child.pipe)

    def _retire(self) -> None:
        if not self._retiring:
            self._retiring = True
            with contextlib.suppress(OSError):
                Path(self._path).unlink()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = listener.accept()
            client.setblocking(True)
            self._clients[client] = bytearray()
            self._selector.register(client, selectors.EVENT_READ)

    def _drop(self, client: socket.socket) -> None:
        if client not in self._clients:
            return
        self._selector.unregister(client)
        del self._clients[client]
        client.close()

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        buffer = self._clients[client]
        buffer += data
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            self._handle(client, json.loads(line))

    def _send(self, client: socket.socket, message: dict[str, Any]) -> None:
        try:
            client.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._drop(client)

    def _handle(self, client: socket.socket, request: dict[str, Any]) -> None:
        if request["op"] == "retire":
            self._retire()
            return
        worker = request["worker"]
        try:
            pid = self._names.get(worker) or self._assign(request)
        except OSError as error:
            self._send(client, {"failed": worker, "error": str(error)})
            return
        self._send(client, {"forked": worker, "pid": pid})

    def _assign(self, request: dict[str, Any]) -> int:
        while True:
            child = self._idle.pop(0) if self._idle else self._fork()
            child.assignment = request
            try:
                with os.fdopen(child.pipe, "wb") as pipe:
                    pipe.write(json.dumps(request).encode())
            except BrokenPipeError:
                continue
            self._working[child.pid] = child
            self._names[request["worker"]] = child.pid
            return child.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._working.pop(pid, None)
            if child is None:
                for idle in [idle for idle in self._idle if idle.pid == pid]:
                    self._idle.remove(idle)
                    os.close(idle.pipe)
                continue
            self._names.pop(child.assignment["worker"], None)
            self._tell_exit(child, status, usage)

    def _tell_exit(self, child: _Child, status: int, usage: resource.struct_rusage) -> None:
        signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        oom = False
        if signal_number == signal.SIGKILL:
            kills = oom_kills()
            oom, self._oom_seen = kills > self._oom_seen, kills
        message = {
            "exited": child.assignment["worker"],
            "key": child.assignment["key"],
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": signal_number,
            "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "oom_kill_seen": oom,
        }
        if status:  # what ended well has reported its end
            path = Path(child.assignment["folder"]) / f"exit-{child.assignment['worker']}.json"
            with contextlib.suppress(OSError):
                temporary = path.with_suffix(".new")
                temporary.write_text(json.dumps(message))
                temporary.rename(path)
        for client in list(self._clients):
            self._send(client, message)

    def _fork(self) -> _Child:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid:
            os.close(read_end)
            return _Child(pid, write_end)
        status = 70
        try:
            os.close(write_end)
            self._become_worker(read_end)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else (0 if stop.code is None else 1)
        except BaseException:  # noqa: BLE001 - nothing may go on in the copy of the server's loop
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _become_worker(self, pipe: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for fd in self._inherited:
            os.close(fd)
        for idle in self._idle:
            os.close(idle.pipe)
        for client in self._clients:
            client.close()
        self._selector.close()
        with os.fdopen(pipe, "rb") as stream:
            text = stream.read()
        if not text:
            os._exit(0)
        assignment = json.loads(text)
        folder = Path(assignment["folder"])
        record = {
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "worker": assignment["worker"],
            "segment": assignment["segment"],
        }
        try:
            descriptor = os.open(
                folder / f"worker-{assignment['worker']}.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600
            )
        except OSError:
            os._exit(0)
        os.write(descriptor, json.dumps(record).encode())
        os.close(descriptor)
        log = os.open(folder / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        limit = assignment["memory_limit_bytes"]
        if limit:
            kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (limit, limit))
        os.environ.update(assignment["environment"])
        os.environ["SPINNER_RUNTIME_SOCKET"] = assignment["address"]
        os.environ["SPINNER_TOKEN_FILE"] = str(folder / "token")
        self._run_entry()


def main() -> None:
    socket_path, entry, ahead = sys.argv[1:4]
    sys.argv = sys.argv[:1]
    ForkServer(socket_path, entry, int(ahead)).serve()


if __name__ == "__main__":
    main()
