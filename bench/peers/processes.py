"""A peer's processes: started with a mark in their environment, counted, and ended with all that came of them.

A descendant is known by the mark or by its ancestors (setproctitle overwrites what /proc tells of an environment). CPU
is the sum of every live process and of the children each has waited for, which is conserved when a child ends. So that
it is also when a parent ends first (a fork server outlives its job), Linux gives orphans to this process meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

STOP_SECONDS = 6.0
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Processes:
    """What a peer started, in one folder, which also gets a log a process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._mark = uuid.uuid4().hex
        self.environment = {**os.environ, **environment, "BENCH_PEER": self._mark}
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        _adopt_orphans(True)

    def start(self, name: str, *command: str | Path, call: str = "") -> subprocess.Popen[bytes]:
        """Starts a command whose output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                env=self.environment | {"BENCH_CALL": call},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )
        self._started[name] = process
        return process

    def call(self, name: str, *command: str | Path, seconds: float = 280.0) -> None:
        """Runs a command to the end of all that comes of it; RuntimeError with the end of its output when it fails or
        takes longer."""
        mark = uuid.uuid4().hex
        process = self.start(name, *command, call=mark)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{name} ran for more than {seconds:.0f} s:\n{self.log_end(name)}") from None
        del self._started[name]
        if code:
            raise RuntimeError(f"{name} ended with {code}:\n{self.log_end(name)}")
        wait_until(f"the end of {name}'s processes", lambda: self._has_ended(mark), 20)

    def _has_ended(self, call: str) -> bool:
        self._reap()
        return not _with("BENCH_CALL", call)

    def _reap(self) -> None:
        """Waits for orphans that have ended."""
        own = {process.pid for process in self._started.values()}
        for child in psutil.Process().children():
            if child.pid not in own:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)

    def check(self) -> None:
        """RuntimeError when a process that was started has ended."""
        for name, process in self._started.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log_end(name)}")

    def log_end(self, name: str) -> str:
        """The last lines a process wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-1500:]

    def all(self) -> list[psutil.Process]:
        """Every live process that came of what was started."""
        found = {process.pid: process for process in _with("BENCH_PEER", self._mark)}
        for root in [*found.values(), *(psutil.Process(p.pid) for p in self._started.values() if p.poll() is None)]:
            try:
                found |= {process.pid: process for process in (root, *root.children(recursive=True))}
            except psutil.Error:
                continue
        return list(found.values())

    def stop(self) -> None:
        """Ends all; returns when none is left. May be repeated."""
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            processes = self.all()
            for process in processes:
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
            deadline = time.monotonic() + STOP_SECONDS
            while processes and time.monotonic() < deadline:
                for started in self._started.values():
                    started.poll()
                self._reap()
                _, processes = psutil.wait_procs(processes, timeout=0.2)
        self._started.clear()
        _adopt_orphans(False)


def _with(variable: str, value: str) -> list[psutil.Process]:
    """The live processes with this in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _adopt_orphans(wanted: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU that these used and that was used by all that this process has waited for."""
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mib(processes: Sequence[psutil.Process]) -> float:
    """Proportional set size where the system tells it, else resident."""
    total = 0.0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(memory, "pss", 0) or memory.rss
    return total / 2**20


@contextmanager
def memory_peak(processes: Callable[[], Sequence[psutil.Process]], pause_seconds: float = 0.5) -> Iterator[list[float]]:
    """Samples `memory_mib` meanwhile; the samples are in the list it gives. It disturbs: measure no time meanwhile."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.is_set():
            samples.append(memory_mib(processes()))
            ended.wait(pause_seconds)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def wait_until(what: str, check: Callable[[], bool], seconds: float = 120.0) -> None:
    """Returns when `check` is true; TimeoutError otherwise."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
