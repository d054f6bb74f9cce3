"""Warm DAG files: a file that is asked for again and again is read once, and its workers are forked from there.

Reading a DAG file (imports of heavy libraries, thousands of tasks) is most of a short try. So the third request for one
file at one bundle version within a minute starts a *reader*: a fork of the fork server that executes the file and then
is a fork server for it. Until a reader is ready, and for every file that can't be read this way, workers are forked
from the main server and read the file themselves, so nothing depends on readers.

A file is cold, and stays so at this version, when reading it fails, takes too long, asks for variables or connections,
or leaves a thread, a child process or an open file behind: none of these survive a fork as their author expects.
Readers end when they were not asked for a minute, and after ten minutes in any case, so that what a file computes from
the time of day doesn't get old. A try whose environment is its own never comes from a reader.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinner.runtime.bundle import keep

from spinner_executor.adapters.local.worker import limit_memory, output_to

MAX_READERS = 8
ASKED_BEFORE_READING = 3
_FORGET_SECONDS = 60.0
_IDLE_SECONDS = 60.0
_OLD_SECONDS = 600.0
_READ_SECONDS = 30.0
_READ_BYTES = 2 << 30
_MAX_COLD = 10_000

File = tuple[str, str]
Request = dict[str, Any]


class Cold(Exception):  # noqa: N818 - an answer
    """Why a file can't be read ahead."""


def read(file: File) -> None:
    """In a reader: executes the file (bundle folder, path below it) and checks what it left behind. Raises Cold."""
    root, path = file
    output_to(os.devnull)
    os.chdir(root)
    keep(root)
    before = set(os.listdir("/dev/fd"))  # noqa: PTH208 - also on macOS
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    soft, hard = resource.getrlimit(kind)
    limit_memory(_READ_BYTES if hard == resource.RLIM_INFINITY else min(_READ_BYTES, hard), hard)
    from spinner.runtime import current
    from spinner.serialization import loading

    try:
        loading.read_ahead(root, path)
    except BaseException as error:
        raise Cold(f"it raises {type(error).__name__}") from error
    limit_memory(soft, hard)
    if current.was_missed:
        raise Cold("it asks for variables or connections")
    if _threads() > 1:
        raise Cold("it starts threads")
    if _has_children():
        raise Cold("it starts processes")
    if set(os.listdir("/dev/fd")) != before:  # noqa: PTH208
        raise Cold("it leaves files or connections open")
    gc.collect()
    gc.freeze()


def _threads() -> int:
    """Threads of this process, those of native libraries too where that can be known."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


@dataclass(slots=True, eq=False)
class Reader:
    """A process that has a file read, or is reading it."""

    file: File
    pid: int
    connection: socket.socket
    born: float
    used: float
    ready: bool = False
    buffer: bytearray = field(default_factory=bytearray)
    # Asked for and not yet answered; alive.
    asked: dict[str, Request] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)


class WarmFiles:
    """The main server's side. `start(file, connection, ours)` forks a reader, which keeps its `connection`
    and closes `ours`, and returns its process number.

    `watch` and `unwatch` are told of connections whose bytes go to `received`.
    """

    def __init__(
        self,
        start: Callable[[File, socket.socket, socket.socket], int],
        watch: Callable[[socket.socket], object],
        unwatch: Callable[[socket.socket], object],
    ) -> None:
        self._start = start
        self._watch = watch
        self._unwatch = unwatch
        self._readers: dict[File, Reader] = {}
        self._draining: list[Reader] = []
        self._asked: Counter[File] = Counter()
        self._forget_at = 0.0
        self._address = ""
        self._cold: dict[File, str] = {}

    @property
    def busy(self) -> bool:
        """Whether workers of readers live."""
        return any(reader.alive or reader.asked for reader in self._all())

    def close(self) -> None:
        """In a fork: closes the connections."""
        for reader in self._all():
            reader.connection.close()

    def is_asked(self, worker: str) -> bool:
        return any(worker in reader.asked for reader in self._all())

    def pass_on(self, request: Request) -> bool:
        """Hands a request to the reader of its file; False when the main server must fork."""
        file = _shared_file(request)
        if file is None:
            return False
        now = time.monotonic()
        reader = self._readers.get(file)
        if reader is None:
            self._count(file, now)
            return False
        if not reader.ready:
            return False
        reader.used = now
        reader.asked[request["worker"]] = request
        try:
            reader.connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            del reader.asked[request["worker"]]
            return False
        return True

    def was_asked(self, assignment: Request) -> None:
        """A worker that had no file read was given a try without this server."""
        file = _shared_file(assignment)
        if file is not None and file not in self._readers:
            self._count(file, time.monotonic())

    def employ(self, address: str) -> None:
        """Where idle workers of readers wait for their tries."""
        self._address = address
        for reader in self._all():
            self._tell_address(reader)

    def _tell_address(self, reader: Reader) -> None:
        address = self._address if self._readers.get(reader.file) is reader else ""
        with contextlib.suppress(OSError):  # its end is noticed where its bytes are read
            reader.connection.sendall(json.dumps({"op": "idle", "address": address}).encode() + b"\n")

    def _count(self, file: File, now: float) -> None:
        if now > self._forget_at:
            self._asked.clear()
            self._forget_at = now + _FORGET_SECONDS
        self._asked[file] += 1
        if self._asked[file] < ASKED_BEFORE_READING or file in self._cold:
            return
        if len(self._readers) >= MAX_READERS:
            idle = [reader for reader in self._readers.values() if not reader.alive and not reader.asked]
            if not idle:
                return
            self._retire(min(idle, key=lambda reader: reader.used))
        ours, theirs = socket.socketpair()
        try:
            pid = self._start(file, theirs, ours)
        except OSError:
            ours.close()
            return
        finally:
            theirs.close()
        self._readers[file] = reader = Reader(file, pid, ours, now, now)
        self._watch(ours)
        self._tell_address(reader)

    def received(self, connection: socket.socket) -> tuple[list[dict[str, Any]], list[Request]]:
        """Reads from a reader: what it says, and requests that the main server must fork itself.

        `asked` in an answer: whether somebody asked for it, or the worker was given its try elsewhere.
        """
        reader = next(reader for reader in self._all() if reader.connection is connection)
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            return [], self._lost(reader)
        reader.buffer += data
        told = []
        while (end := reader.buffer.find(b"\n")) >= 0:
            message = json.loads(reader.buffer[:end])
            del reader.buffer[: end + 1]
            if "ready" in message:
                reader.ready = True
                continue
            if "cold" in message:
                self._set_cold(reader.file, message["cold"])
                continue
            if "exited" in message:
                reader.alive.discard(message["exited"])
            else:
                worker = message.get("forked") or message["failed"]
                message["asked"] = reader.asked.pop(worker, None) is not None
                if "forked" in message:
                    reader.used = time.monotonic()
                    reader.alive.add(worker)
            told.append(message)
        return told, []

    def _set_cold(self, file: File, why: str) -> None:
        if len(self._cold) >= _MAX_COLD:
            self._cold.pop(next(iter(self._cold)))
        self._cold[file] = why
        print(f"{file[1]} is not read ahead: {why}", file=sys.stderr, flush=True)

    def _lost(self, reader: Reader) -> list[Request]:
        """A reader ended. Its workers live on, watched by whoever launched them."""
        if not reader.ready and reader.file not in self._cold and self._readers.get(reader.file) is reader:
            self._set_cold(reader.file, "reading it ends the process")
        self._forget(reader)
        return list(reader.asked.values())

    def _forget(self, reader: Reader) -> None:
        self._unwatch(reader.connection)
        reader.connection.close()
        if self._readers.get(reader.file) is reader:
            del self._readers[reader.file]
        if reader in self._draining:
            self._draining.remove(reader)

    def _retire(self, reader: Reader) -> None:
        """Takes no more requests, sends its idle workers away, and ends by itself once all its workers are gone.

        So one that was given a try meanwhile has somebody who watches it.
        """
        if self._readers.get(reader.file) is reader:
            del self._readers[reader.file]
            self._draining.append(reader)
            with contextlib.suppress(OSError):  # its end is noticed where its bytes are read
                reader.connection.sendall(b'{"op": "retire"}\n')

    def tidy(self, all_of_them: bool = False) -> None:
        """Ends readers that are old, unused, or take too long to read; call about once a second."""
        now = time.monotonic()
        for reader in self._all():
            if not reader.ready and now - reader.born > _READ_SECONDS:
                self._set_cold(reader.file, f"reading it takes more than {_READ_SECONDS:.0f} s")
                with contextlib.suppress(OSError):
                    os.kill(reader.pid, 9)
                self._forget(reader)
            elif all_of_them or now - reader.used > _IDLE_SECONDS or now - reader.born > _OLD_SECONDS:
                self._retire(reader)

    def _all(self) -> list[Reader]:
        return [*self._readers.values(), *self._draining]


def _shared_file(request: Request) -> File | None:
    """The DAG file of a try that a reader may serve; None when its environment is its own."""
    file = request.get("file")
    return (file[0], file[1]) if file and not request["environment"] else None
