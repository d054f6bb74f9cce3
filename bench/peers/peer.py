"""What a peer must be able to do, and what all share: an environment of its own, a home for a turn, marks.

A peer is installed once, with the versions pinned in its module, into a virtual environment below `CACHE` (outside the
source tree; SPINNER_PEERS_CACHE moves it). It is started for its turn in a new temporary home and stopped after it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.peers.marks import Marks
from bench.peers.processes import Processes
from bench.peers.sizes import Sizes
from bench.peers.web import Page
from e2e.harness import ROOT

CACHE = Path(os.environ.get("SPINNER_PEERS_CACHE") or Path.home() / ".cache" / "spinner" / "peers")
WORKLOADS = Path(__file__).parent / "workloads"


class Peer(ABC):
    """One row of the comparison.

    `name` in tables; `isolation` of a task; `durable`: what is kept when, for the reader; `tuning`: what was set;
    `workloads`: what it can run; `serves`: whether something of it runs also when there is no work.
    """

    name: str
    isolation: str
    durable: str
    tuning: str
    workloads: Sequence[str]
    serves = True

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    @property
    @abstractmethod
    def version(self) -> str:
        """What is measured."""

    @abstractmethod
    def install(self) -> None:
        """Brings what it needs; raises with what to do when it can't. May be repeated."""

    @abstractmethod
    def start(self) -> None:
        """Returns when it can take work; servers have run W1 once."""

    @abstractmethod
    def run(self, workload: str) -> dict[str, float]:
        """Runs a workload to its end and returns its figures by name; raises when a task is missing."""

    @abstractmethod
    def processes(self) -> list[psutil.Process]:
        """All its live processes."""

    def dags_page(self) -> Page | None:
        """Its web API's first 50 DAGs; None when it has no such thing."""
        return None

    @abstractmethod
    def stop(self) -> None:
        """Ends all of it and removes its home. May be repeated, also when `start` failed."""


class PackagedPeer(Peer):
    """A peer from PyPI."""

    requirements: Sequence[str]
    environment_name: str

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self._home: Path | None = None
        self._processes: Processes | None = None

    @property
    def version(self) -> str:
        return self.requirements[0].split("==")[1]

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return CACHE / self.environment_name / "bin"

    @property
    def home(self) -> Path:
        assert self._home is not None, f"{self.name} isn't started"
        return self._home

    @property
    def started(self) -> Processes:
        assert self._processes is not None, f"{self.name} isn't started"
        return self._processes

    def install(self) -> None:
        folder = CACHE / self.environment_name
        stamp = folder / ".requirements"
        wanted = "\n".join(self.requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"   … installing {', '.join(self.requirements)} into {folder}", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        uv = ROOT / "build" / "tools" / "bin" / "uv"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", version, folder], check=True)
        subprocess.run(
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                self.bin / "python",
                *self.requirements,
            ],
            check=True,
        )
        stamp.write_text(wanted)

    def new_home(self, **environment: str) -> Processes:
        """A new temporary home, and what starts processes there; `{home}` in values becomes its path."""
        self._home = Path(tempfile.mkdtemp(prefix=f"bench-{self.environment_name}-"))
        self._home.chmod(0o755)
        values = {name: value.replace("{home}", str(self._home)) for name, value in environment.items()}
        self._processes = Processes(self._home, self.sizes.environment | values)
        return self._processes

    def marks(self) -> Marks:
        return Marks(self.home / "marks")

    def processes(self) -> list[psutil.Process]:
        return self._processes.all() if self._processes else []

    def stop(self) -> None:
        if self._processes:
            self._processes.stop()
        if self._home and not os.environ.get("SPINNER_PEERS_KEEP"):
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = self._processes = None
