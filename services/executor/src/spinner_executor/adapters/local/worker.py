"""What a forked process does to become the worker of a try, before the SDK takes over.

Making a file takes a file system longer than anything else here, so an idle worker has a folder with its record and its
log ready, and one rename makes it the try's. Where the try has a folder already (a later segment, another launch), the
files are made in it. Either way the record of a worker's name is made once: a second process of that name ends there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from spinner_executor.adapters.local.process import start_time

# Tells the server that a process of this worker's name had been there before, so that its end isn't the worker's.
EXIT_DOUBLE = 96
EXIT_NO_FOLDER = 97
# An executor that assigns a try keeps its partitions for longer than that, even when it stands still from then on.
FRESH_SECONDS = 2.0
# Prefix of the names of folders that idle workers have ready; their process number follows.
READY = "ready-"


class Ready:
    """An idle worker's folder, below `trash` until it is used."""

    def __init__(self, trash: str) -> None:
        self._folder = f"{trash}/{READY}{os.getpid()}"
        os.mkdir(self._folder, 0o700)  # noqa: PTH102 - paths are texts here, which costs less
        self._record = self._open("record")
        self._log = self._open("log")

    def _open(self, name: str) -> int:
        return os.open(f"{self._folder}/{name}", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def become(self, folder: str, record_name: str, record: bytes) -> int | None:
        """Makes it the try's folder, with the record in it. The open log; None when the try has a folder already."""
        try:
            _write(self._record, record)
            os.rename(f"{self._folder}/record", f"{self._folder}/{record_name}")  # noqa: PTH104
            os.rename(self._folder, folder)  # noqa: PTH104 - fails when there is something in `folder`
        except OSError:
            os.close(self._log)
            self.discard()
            return None
        finally:
            os.close(self._record)
        return self._log

    def discard(self) -> None:
        """Removes it, unused."""
        shutil.rmtree(self._folder, ignore_errors=True)


def take(assignment: dict[str, Any], ready: Ready | None = None, connection: socket.socket | None = None) -> None:
    """Makes this process the worker of `assignment` (a fork server's request): its record, log, limits, environment.

    `connection`: the executor's answers to GetWork and Start come on it unasked. They don't count when it is gone, or
    may be by now: then this worker asks whoever the partition belongs to.
    Ends the process when another one of the same name has been there, or when the try's folder can't be written.
    """
    folder, worker, token = assignment["folder"], assignment["worker"], assignment["token"]
    record = {
        "pid": os.getpid(), "start_time": start_time(os.getpid()), "worker": worker, "segment": assignment["segment"],
        "key": assignment["key"], "token": token,
    }  # fmt: skip
    name, text = f"worker-{worker}.json", json.dumps(record).encode()
    log = ready.become(folder, name, text) if ready is not None else None
    if log is None:
        log = _made(folder, name, text)
    _redirect(log)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    limit = assignment["memory_limit_bytes"]
    if limit:
        limit_memory(limit, limit)
    limit_cpus(assignment["cpus"])
    os.environ.update(assignment["environment"])
    os.environ["SPINNER_RUNTIME_SOCKET"] = assignment["address"]
    os.environ["SPINNER_TOKEN_FILE"] = _as_file(token.encode())
    is_fresh = time.monotonic() - assignment["asked"] < FRESH_SECONDS
    if connection is not None and is_fresh and not _is_hung_up(connection):
        os.environ["SPINNER_RUNTIME_FD"] = str(connection.detach())


def _is_hung_up(connection: socket.socket) -> bool:
    """Whether the executor is gone, whatever it said before.

    Asked after the record is made: an executor that lives now, or its successor, knows that this worker is there. One
    that died before may have a successor that found no record and ran the try elsewhere, so that has to be asked.
    """
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def _made(folder: str, record_name: str, record: bytes) -> int:
    """Makes the record and the log in the try's folder; returns the open log."""
    try:
        os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
        descriptor = os.open(f"{folder}/{record_name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        _write(descriptor, record)
        os.close(descriptor)
        return os.open(f"{folder}/log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    except FileExistsError:
        os._exit(EXIT_DOUBLE)
    except OSError:
        os._exit(EXIT_NO_FOLDER)


def _write(descriptor: int, data: bytes) -> None:
    """All of it, or OSError: a full disk takes a part."""
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _as_file(secret: bytes) -> str:
    """The name of a file that is nowhere on a disk and only this process can read."""
    read_end, write_end = os.pipe()
    os.write(write_end, secret)
    os.close(write_end)
    return f"/dev/fd/{read_end}"


def output_to(path: Path | str) -> None:
    """Sends stdout and stderr to the end of a file, and takes stdin away."""
    _redirect(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))


def _redirect(log: int) -> None:
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def give_way(niceness: int) -> None:
    """Lets services and pages be quick however many workers compute."""
    if niceness:
        with contextlib.suppress(OSError):
            os.nice(niceness)


def limit_memory(soft: int, hard: int) -> None:
    """Bounds this process's memory, as far as the system can; bytes."""
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (soft, hard))


def limit_cpus(count: int) -> None:
    """Bounds on how many processors this process and its children run at once, where the system can; 0: no bound."""
    if count and sys.platform == "linux":
        allowed = sorted(os.sched_getaffinity(0))
        first = os.getpid() % len(allowed)
        os.sched_setaffinity(0, (allowed[first:] + allowed[:first])[:count])
