"""Idle workers: forked ahead, rehearsed, connected to their executor, which assigns a try by one write.

The worker's side is `wait`, the executor's side `Pool`. An idle worker has a connection to the executor's socket for
idle workers and says there who it is: `{"pid", "start_time", "file"}`, with the DAG file that it has read, if any. The
answer is its assignment (what a fork server's request holds), and from then on the connection is the try's, whose
first two answers (GetWork, Start) come without being asked for. So neither a fork, nor the fork server, nor a
connection is in the way of a try.

The worker's first act is a word to its fork server, which watches it, and the second its record (`worker.take`). A
worker that is gone without a record never ran, and the try is launched by the fork server under the same name. An idle
worker whose executor or fork server is gone ends.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from spinner.runtime import local_frames

from spinner_executor.adapters.local.process import start_time

File = tuple[str, str]
# As long as an unused reader of a file lives: meanwhile the fork server has one that forks for it.
_WARM_SECONDS = 60.0


class Line(Protocol):
    """The executor's end of an idle worker's connection."""

    def assign(self, assignment: bytes, token: str, partition: int, on_lost: Callable[[], None]) -> None:
        """Gives the worker a try. `on_lost` is called when the worker hangs up before it has asked anything."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker that waits."""

    pid: int
    start_time: str
    file: File | None
    line: Line


class Pool:
    """An executor's idle workers, by the DAG file that they have read. Used on the event loop.

    `path`: the socket that they connect to.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._waiting: dict[File | None, deque[Idle]] = {}
        self._warm_until: dict[File, float] = {}

    def came(self, hello: bytes, line: Line) -> Idle | None:
        """An idle worker says who it is; None when it makes no sense."""
        try:
            said = json.loads(hello)
            file = (str(said["file"][0]), str(said["file"][1])) if said["file"] else None
            idle = Idle(int(said["pid"]), str(said["start_time"]), file, line)
        except (ValueError, KeyError, TypeError, IndexError):
            return None
        if file is not None:
            self._warm_until = {known: until for known, until in self._warm_until.items() if until > time.monotonic()}
            self._warm_until[file] = time.monotonic() + _WARM_SECONDS
        self._waiting.setdefault(file, deque()).append(idle)
        return idle

    def left(self, idle: Idle) -> None:
        """It is gone, or taken."""
        waiting = self._waiting.get(idle.file)
        if waiting is not None and idle in waiting:
            waiting.remove(idle)
            if not waiting:
                del self._waiting[idle.file]

    def take(self, file: File | None, own_environment: bool) -> Idle | None:
        """The one for a try of a DAG file; None when the fork server has to make one.

        A file that workers have read is not given to one that would have to read it. A try whose environment is its own
        reads its file itself.
        """
        wanted = None if own_environment or self._warm_until.get(file or ("", ""), 0.0) < time.monotonic() else file
        waiting = self._waiting.get(wanted)
        if not waiting:
            return None
        idle = waiting[0]
        self.left(idle)
        return idle


def wait(server: socket.socket, address: str, file: File | None) -> tuple[dict[str, Any], socket.socket] | None:
    """In an idle worker: waits for a try, tells the fork server, and returns assignment and connection.

    None when the executor or the server is gone.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
        hello = {"pid": os.getpid(), "start_time": start_time(os.getpid()), "file": file}
        local_frames.send_frame(connection, json.dumps(hello).encode())
        if connection not in select.select([connection, server], [], [])[0]:
            return None
        frame = local_frames.receive_frame(connection)
        if frame is None:
            return None
        assignment: dict[str, Any] = json.loads(frame)
        said = {name: assignment[name] for name in ("worker", "key", "folder", "file", "environment")}
        server.sendall(json.dumps(said).encode() + b"\n")
    except (OSError, local_frames.FrameError):
        return None
    return assignment, connection
