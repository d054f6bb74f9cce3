"""What a peer must be able to do, and what all share: an environment of its own, marks, processes that end.

A workload's tasks only leave a mark: a file `<run>~<task>` whose text is the time in nanoseconds. All figures come from
the marks, so nobody's own clock or API is believed. A peer is installed with the versions pinned here into a virtual
environment of its own below `build/peers`, started for its turn and stopped after it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from bench.figures import percentile
from e2e.harness import ROOT

HOME = ROOT / "build" / "peers"
WORKLOADS = Path(__file__).parent / "workloads"
CHAIN_LENGTH = 40
FAN_OUT = 200
DAGS, TASKS_OF_A_DAG = 200, 10


@dataclass(frozen=True)
class Answer:
    """What one workload gave: values by the name of a figure."""

    workload: str
    values: dict[str, float]


class Peer(Protocol):
    """`name` in tables, `isolation` of a task ("process", "none"), `tuning`: what was set, for the reader."""

    name: str
    isolation: str
    tuning: str
    workloads: Sequence[str]

    def install(self) -> None: ...
    def start(self) -> None: ...
    def run(self, workload: str) -> Answer: ...
    def memory_mib(self) -> float: ...
    def stop(self) -> None: ...


class Marks:
    """The marks of one run of a workload."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:10]
        self.folder = HOME / "marks" / self.run
        self.folder.mkdir(parents=True)
        self.begin_ns = time.time_ns()

    def count(self) -> int:
        return sum(1 for _ in self.folder.iterdir())

    def wait(self, count: int, seconds: float) -> None:
        """Returns when so many marks are there; TimeoutError otherwise."""
        deadline = time.monotonic() + seconds
        while (found := self.count()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {count} tasks ran within {seconds:.0f} s")
            time.sleep(0.1)

    def times(self) -> dict[str, int]:
        """Task → when it ran, nanoseconds."""
        return {path.name: int(path.read_text()) for path in self.folder.iterdir()}

    def chain(self) -> Answer:
        """W1: milliseconds from one task to the next."""
        times = sorted(self.times().values())
        return Answer("w1", {"w1_ms_per_task": (times[-1] - times[0]) / 1e6 / (len(times) - 1)})

    def fan_out(self) -> Answer:
        """W2: tasks a second from the first to the last."""
        times = sorted(self.times().values())
        return Answer("w2", {"w2_tasks_per_s": (len(times) - 1) / ((times[-1] - times[0]) / 1e9)})

    def burst(self) -> Answer:
        """W3: tasks a second from the trigger on, and how late the first task of a DAG was."""
        times = self.times()
        late = [(value - self.begin_ns) / 1e9 for name, value in times.items() if name.endswith("~step_0")]
        took = (max(times.values()) - self.begin_ns) / 1e9
        return Answer("w3", {"w3_tasks_per_s": len(times) / took, "w3_first_task_p95_s": percentile(late, 95)})


class Environment:
    """A virtual environment with pinned packages."""

    def __init__(self, name: str, *requirements: str) -> None:
        self.folder = HOME / name
        self._requirements = requirements

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def install(self) -> None:
        stamp = self.folder / ".requirements"
        wanted = "\n".join(self._requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"  … installing {', '.join(self._requirements)} into {self.folder.relative_to(ROOT)}", file=sys.stderr)
        uv = ROOT / "build" / "tools" / "bin" / "uv"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", version, self.folder], check=True)
        python = self.bin / "python"
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *self._requirements], check=True)
        stamp.write_text(wanted)


class Processes:
    """What a peer started; all of it ends with `stop`, whole process trees."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str | Path) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )
        self._started.append(process)

    def call(self, *command: str | Path) -> str:
        """Runs a command to its end; RuntimeError with its output when it fails."""
        done = subprocess.run(
            list(map(str, command)), env=self.environment, capture_output=True, text=True, check=False, cwd=self.folder
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout

    def memory_mib(self) -> float:
        total = 0.0
        for process in self._tree():
            try:
                memory = process.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.rss
            except psutil.Error:
                continue
        return total / 2**20

    def _tree(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        for started in self._started:
            try:
                root = psutil.Process(started.pid)
                found |= {process.pid: process for process in [root, *root.children(recursive=True)]}
            except psutil.NoSuchProcess:
                continue
        return list(found.values())

    def stop(self) -> None:
        tree = self._tree()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in tree:
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
            _, tree = psutil.wait_procs(tree, timeout=10)
        for started in self._started:
            started.wait()
        self._started.clear()


def wait_until(what: str, check: Callable[[], bool], seconds: float = 120.0) -> None:
    """Returns when `check` is true; TimeoutError otherwise."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
