"""The fork server: one small, single-threaded process that has the SDK imported and forks a worker a try.

It outlives its executor. Clients (an executor, its successor) connect to its Unix socket and send one JSON
object a line: `{"op": "fork", …}`, answered by `{"forked": worker, "pid": …}` or `{"failed": worker, "error": …}`.
Every bad end of a worker is first written to `exit-<worker>.json` in the try's folder, then every end is told to all
clients, so an executor that was away finds it. Workers are leaders of sessions of their own.

A few are forked ahead for the executor that says where (`{"op": "idle", "address": …}`), which takes the fork out of a
task's way; meanwhile they rehearse, which takes the first writes to shared pages out of it, too. They wait for their
try at the executor (`idle`), so this server hears from a worker itself what it has become.

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
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinner_executor.adapters.local import idle, warm_files, worker
from spinner_executor.adapters.local.oom_kills import OomKills

LINGER_SECONDS = 30.0
# Idle workers are forked again in the first calm moment, not while the machine is busy with a launch.
_CALM_SECONDS = 0.001
# After one that ended before it had a try: its executor doesn't take any.
_REFUSED_SECONDS = 1.0


@dataclass(slots=True)
class _Child:
    """`line`: where an idle one says what it has become, or sees that the server is gone; it waits at `address`."""

    pid: int
    address: str = ""
    line: socket.socket | None = None
    said: bytearray = field(default_factory=bytearray)
    assignment: dict[str, Any] = field(default_factory=dict)


class ForkServer:
    """`entry`: what a worker calls; `ahead`: how many idle workers to keep; `rehearse`: what these do meanwhile.

    `niceness`: by how much workers give way to others; `trash`: where they may have folders ready; `linger_seconds`:
    how long it stays without a client and a living worker; `file`: the DAG file that was read here.
    """

    def __init__(
        self,
        entry: Callable[[], object],
        ahead: int,
        linger_seconds: float,
        rehearse: Callable[[], object],
        niceness: int,
        trash: str,
        file: warm_files.File | None = None,
    ) -> None:
        self._file = file
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
        # Where clients want idle workers to wait; they wait at the latest one's.
        self._addresses: dict[socket.socket, str] = {}
        self._address = ""
        self._idle: dict[int, _Child] = {}
        self._refill_at = 0.0
        self._working: dict[int, _Child] = {}
        self._names: dict[str, int] = {}
        self._oom_kills = OomKills()
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
            refill = self._lacks_idle()
            events = self._selector.select(_CALM_SECONDS if refill else 1.0)
            for key, _ in events:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                elif key.data == "reader":
                    self._relay(key.fileobj)  # type: ignore[arg-type]
                elif isinstance(key.data, _Child):
                    self._hear(key.data)
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]
            self._reap()
            now = time.monotonic()
            if now - tidied > 1.0:
                self._warm.tidy(self._retiring)
                self._oom_kills.look(now)
                tidied = now
            if refill and not events:
                self._fork_idle()
            if self._retiring and self._address:
                self._addresses.clear()
                self._employ()
            if self._clients and not self._retiring:
                lonely_since = now
            if self._is_done(now - lonely_since):
                break
        self._leave()

    def _is_done(self, lonely_seconds: float) -> bool:
        if self._working or self._warm.busy:
            return False
        if self._clients:  # an idle worker that was sent away may have just been given a try
            return self._retiring and not self._idle
        return self._retiring or lonely_seconds >= self._linger

    def _lacks_idle(self) -> bool:
        if self._retiring or not self._address or len(self._idle) >= self._ahead:
            return False
        return time.monotonic() >= self._refill_at

    def _leave(self) -> None:
        if self._listener is not None:
            self._listener.close()
            if not self._retiring:
                with contextlib.suppress(OSError):
                    Path(self._path).unlink()
        self._warm.close()
        for child in self._idle.values():
            if child.line is not None:
                child.line.close()

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
        if self._addresses.pop(client, None) is not None:
            self._employ()

    def _employ(self) -> None:
        """Idle workers wait at the latest address from now on; those that wait elsewhere are sent away."""
        self._address = list(self._addresses.values())[-1] if self._addresses else ""
        for child in self._idle.values():
            if child.address != self._address and child.line is not None:
                with contextlib.suppress(OSError):
                    child.line.shutdown(socket.SHUT_WR)  # one that was just given a try can still say so
        self._warm.employ(self._address)

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
        if request["op"] == "idle":
            self._addresses.pop(client, None)
            if request["address"]:
                self._addresses[client] = request["address"]
            self._employ()
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
            return {"forked": request["worker"], "pid": self._fork_for(request)}
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
            if message.get("asked", True):
                self._tell(message)
        for request in undone:
            self._tell(self._answer(request))

    def _hear(self, child: _Child) -> None:
        """An idle worker says that it has a try now, or is gone."""
        line = child.line
        if line is None:
            return
        with contextlib.suppress(BlockingIOError):
            while data := line.recv(65536):
                child.said += data
                if data.endswith(b"\n"):
                    self._was_assigned(child, json.loads(child.said))
                    return
            self._hang_up(child)

    def _hang_up(self, child: _Child) -> None:
        if child.line is not None:
            self._selector.unregister(child.line)
            child.line.close()
            child.line = None

    def _was_assigned(self, child: _Child, assignment: dict[str, Any]) -> None:
        self._hang_up(child)
        del self._idle[child.pid]
        self._works(child, assignment)
        if self._file is None:
            self._warm.was_asked(assignment)
        else:
            self._tell({"forked": assignment["worker"], "pid": child.pid})

    def _works(self, child: _Child, assignment: dict[str, Any]) -> None:
        child.assignment = assignment
        self._working[child.pid] = child
        self._names[assignment["worker"]] = child.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._idle:
                self._hear(self._idle[pid])
            child = self._working.pop(pid, None)
            if child is None:
                if (unused := self._idle.pop(pid, None)) is not None:
                    self._hang_up(unused)
                    if unused.address == self._address:
                        self._refill_at = time.monotonic() + _REFUSED_SECONDS
                continue
            self._names.pop(child.assignment["worker"], None)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == worker.EXIT_DOUBLE:
                continue
            self._tell_exit(child, status, usage)

    def _tell_exit(self, child: _Child, status: int, usage: resource.struct_rusage) -> None:
        signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        message = {
            "exited": child.assignment["worker"],
            "key": child.assignment["key"],
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": signal_number,
            "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "oom_kill_seen": signal_number == signal.SIGKILL and self._oom_kills.explain_one(),
        }
        if status:  # what ended well has reported its end
            path = Path(child.assignment["folder"]) / f"exit-{child.assignment['worker']}.json"
            with contextlib.suppress(OSError):
                temporary = path.with_suffix(".new")
                temporary.write_text(json.dumps(message))
                temporary.rename(path)
        self._tell(message)

    def _fork_for(self, request: dict[str, Any]) -> int:
        """A worker for a try; its process number."""

        def child() -> None:
            self._leave_server()
            worker.give_way(self._niceness)
            worker.take(request)
            self._run_entry()

        pid = _in_a_fork(child)
        self._works(_Child(pid), request)
        return pid

    def _fork_idle(self) -> None:
        ours, theirs = socket.socketpair()

        def child() -> None:
            ours.close()
            self._leave_server()
            self._wait_for_a_try(theirs)

        pid = _in_a_fork(child)
        theirs.close()
        ours.setblocking(False)
        self._idle[pid] = waiting = _Child(pid, self._address, ours)
        self._selector.register(ours, selectors.EVENT_READ, waiting)

    def _start_reader(self, file: warm_files.File, connection: socket.socket, ours: socket.socket) -> int:
        def child() -> None:
            self._leave_server()
            ours.close()  # or the reader would never see that the server is gone
            try:
                warm_files.read(file)
            except warm_files.Cold as cold:
                connection.sendall(json.dumps({"cold": str(cold)}).encode() + b"\n")
                return
            server = ForkServer(self._run_entry, self._ahead, 0, self._rehearse, self._niceness, self._trash, file)
            server.adopt(connection)
            connection.sendall(b'{"ready": true}\n')
            server.serve()

        return _in_a_fork(child)

    def _wait_for_a_try(self, server: socket.socket) -> None:
        worker.give_way(self._niceness)
        worker.output_to(os.devnull)
        ready = None
        with contextlib.suppress(OSError):
            ready = worker.Ready(self._trash)
        with contextlib.suppress(Exception):  # a try shows what is wrong, with a log
            self._rehearse()
        found = idle.wait(server, self._address, self._file)
        if found is None:
            if ready is not None:
                ready.discard()
            os._exit(0)
        server.close()
        assignment, connection = found
        worker.take(assignment, ready, connection)
        self._run_entry()

    def _leave_server(self) -> None:
        """In a fork: gives up everything that belongs to the server."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for fd in self._inherited:
            os.close(fd)
        for other in self._idle.values():
            if other.line is not None:
                other.line.close()
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
