"""The fork server: one small, single-threaded process that has the SDK imported and forks a worker a try.

It outlives its executor. Clients (an executor, its successor) connect to its Unix socket and send one JSON
object a line: `{"op": "fork", …}`, answered by `{"forked": worker, "pid": …}` or `{"failed": worker, "error": …}`.
Every bad end of a worker is first written to `exit-<worker>.json` in the try's folder, then every end is told to all
clients, so an executor that was away finds it. Workers are leaders of sessions of their own. A few are forked ahead
and wait for their assignment on a pipe, which takes the fork out of a task's way; meanwhile they rehearse, which takes
the first writes to shared pages out of it, too.

Workers of a DAG file that is asked for often come from a copy of this server that has read the file (`warm_files`);
what the copy says is passed on.

A worker's first act is to create `worker-<worker>.json` exclusively: a second process of the same name ends there,
and the file's absence proves that no worker of this name ever ran. No user code is imported in the main server.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinner_executor.adapters.local import warm_files, worker

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
    """`entry`: what a worker calls; `ahead`: how many idle workers to keep; `rehearse`: what these do meanwhile.

    `niceness`: by how much workers give way to others; `trash`: where they may have folders ready; `linger_seconds`:
    how long it stays without a client and a living worker.
    """

    def __init__(
        self,
        entry: Callable[[], object],
        ahead: int,
        linger_seconds: float,
        rehearse: Callable[[], object],
        niceness: int,
        trash: str,
    ) -> None:
        self._niceness = niceness
        self._trash = trash
        self._run_entry = entry
        self._rehearse = rehearse
        self._ahead = ahead
        self._linger = linger_seconds
        self._selector = selectors.DefaultSelector()
        self._path = ""
        self._listener: socket.socket | None = None
        self._clients: dict[socket.socket, bytearray] = {}
        self._idle: list[_Child] = []
        self._working: dict[int, _Child] = {}
        self._names: dict[str, int] = {}
        self._oom_seen = oom_kills()
        self._retiring = False
        self._inherited: list[int] = []
        self._warm = warm_files.WarmFiles(
            self._start_reader,
            lambda connection: self._selector.register(connection, selectors.EVENT_READ, "reader"),
            self._selector.unregister,
        )

    def listen(self, path: str) -> None:
        """Takes clients at a Unix socket."""
        self._path = path
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = f"{path}.{os.getpid()}"
        listener.bind(temporary)
        Path(temporary).chmod(0o600)
        listener.listen(16)
        Path(temporary).rename(path)
        listener.setblocking(False)
        self._listener = listener
        self._inherited.append(listener.fileno())
        self._selector.register(listener, selectors.EVENT_READ)

    def adopt(self, client: socket.socket) -> None:
        """Takes a connected client."""
        client.setblocking(True)
        self._clients[client] = bytearray()
        self._selector.register(client, selectors.EVENT_READ)

    def serve(self) -> None:
        """Runs until there was no client for the linger time and no worker lives."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._retire())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._inherited += [wake_read, wake_write]
        self._selector.register(wake_read, selectors.EVENT_READ)
        gc.collect()
        gc.freeze()
        lonely_since = tidied = time.monotonic()
        while True:
            refill = len(self._idle) < self._ahead and not self._retiring
            events = self._selector.select(_CALM_SECONDS if refill else 1.0)
            for key, _ in events:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                elif key.data == "reader":
                    self._relay(key.fileobj)  # type: ignore[arg-type]
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]
            self._reap()
            now = time.monotonic()
            if now - tidied > 1.0:
                self._warm.tidy(self._retiring)
                tidied = now
            if refill and not events:
                self._idle.append(self._fork())
            if self._clients and not self._retiring:
                lonely_since = now
            elif not self._working and not self._warm.busy and (self._retiring or now - lonely_since >= self._linger):
                break
        self._leave()

    def _leave(self) -> None:
        if self._listener is not None:
            self._listener.close()
            if not self._retiring:
                with contextlib.suppress(OSError):
                    Path(self._path).unlink()
        self._warm.close()
        for child in self._idle:
            os.close(child.pipe)

    def _retire(self) -> None:
        if not self._retiring:
            self._retiring = True
            if self._path:
                with contextlib.suppress(OSError):
                    Path(self._path).unlink()

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - it is what has become readable
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            self.adopt(client)

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
        name = request["worker"]
        if self._warm.is_asked(name):
            return
        if pid := self._names.get(name):
            self._send(client, {"forked": name, "pid": pid})
        elif not self._warm.pass_on(request):
            self._send(client, self._answer(request))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"forked": request["worker"], "pid": self._assign(request)}
        except OSError as error:
            return {"failed": request["worker"], "error": str(error)}

    def _tell(self, message: dict[str, Any]) -> None:
        for client in list(self._clients):
            self._send(client, message)

    def _relay(self, connection: socket.socket) -> None:
        """Passes on what a reader says, and does what a dead one has left."""
        told, undone = self._warm.received(connection)
        for message in told:
            if "forked" in message:
                self._names[message["forked"]] = message["pid"]
            elif "exited" in message:
                self._names.pop(message["exited"], None)
            self._tell(message)
        for request in undone:
            self._tell(self._answer(request))

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
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == worker.EXIT_DOUBLE:
                continue
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
        self._tell(message)

    def _fork(self) -> _Child:
        read_end, write_end = os.pipe()

        def child() -> None:
            os.close(write_end)
            self._become_worker(read_end)

        pid = _in_a_fork(child)
        os.close(read_end)
        return _Child(pid, write_end)

    def _start_reader(self, file: warm_files.File, connection: socket.socket, ours: socket.socket) -> int:
        def child() -> None:
            self._leave_server()
            ours.close()  # or the reader would never see that the server is gone
            try:
                warm_files.read(file)
            except warm_files.Cold as cold:
                connection.sendall(json.dumps({"cold": str(cold)}).encode() + b"\n")
                return
            server = ForkServer(self._run_entry, self._ahead, 0, self._rehearse, self._niceness, self._trash)
            server.adopt(connection)
            connection.sendall(b'{"ready": true}\n')
            server.serve()

        return _in_a_fork(child)

    def _become_worker(self, pipe: int) -> None:
        self._leave_server()
        worker.give_way(self._niceness)
        ready = None
        if not select.select([pipe], [], [], 0)[0]:
            worker.output_to(os.devnull)
            with contextlib.suppress(OSError):
                ready = worker.Ready(self._trash)
            with contextlib.suppress(Exception):  # a try shows what is wrong, with a log
                self._rehearse()
        with os.fdopen(pipe, "rb") as stream:
            text = stream.read()
        if not text:
            if ready is not None:
                ready.discard()
            os._exit(0)
        worker.take(json.loads(text), ready)
        self._run_entry()

    def _leave_server(self) -> None:
        """In a fork: gives up everything that belongs to the server."""
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
        self._warm.close()
        self._selector.close()


def _in_a_fork(run: Callable[[], object]) -> int:
    """Runs `run` in a fork, which ends with it. Returns the fork's process number."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        run()
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


def main() -> None:
    socket_path, entry, ahead, niceness, trash = sys.argv[1:6]
    sys.argv = sys.argv[:1]
    module, _, function = entry.partition(":")
    run = getattr(importlib.import_module(module), function)
    rehearse = getattr(importlib.import_module(module), "rehearse", lambda: None)
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("spinner.runtime").preload()
    server = ForkServer(run, int(ahead), LINGER_SECONDS, rehearse, int(niceness), trash)
    server.listen(socket_path)
    server.serve()


if __name__ == "__main__":
    main()
