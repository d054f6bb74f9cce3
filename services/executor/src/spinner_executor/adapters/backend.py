"""Where workers live, behind one interface: `local` here, `kubernetes` beside it.

A back end makes, watches and removes workers; it knows nothing of Kafka, grants or reports. A worker's name is
unique for ever, and launching the same name twice starts at most one worker, also across restarts of the executor
and of the back end's own helpers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from spinner_executor.domain.model import Exit, WorkerState


class LaunchFailed(Exception):  # noqa: N818 - an answer
    """A worker could not be made; says why, for people."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A worker to make. `address`: where it reaches its executor; `token`: what it proves itself with.

    `file`: the unpacked bundle's folder and the DAG file in it, when they are known already.
    """

    key: str
    segment: int
    worker: str
    token: str
    address: str
    # What it should have and may have at most; 0: not said.
    memory_request_bytes: int = 0
    memory_limit_bytes: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    file: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A try's latest worker as found after a restart."""

    state: WorkerState
    worker: str = ""
    segment: int = -1
    token: str = ""
    exit: Exit | None = None


class Backend(Protocol):
    """All methods run on the event loop; callbacks too."""

    name: str

    def new_worker_name(self) -> str: ...

    def may_have_run_here(self, worker: str) -> bool:
        """True when `worker`, if it ever ran, left a record that `observe` finds: its absence proves that it didn't."""

    async def start(self, on_exit: Callable[[str, str, Exit], None]) -> None:
        """Makes the back end ready. `on_exit(key, worker, exit)` is called once for each worker that ends."""

    async def launch(self, launch: Launch) -> None:
        """Makes the worker; returns once it exists. Raises LaunchFailed."""

    def observe(self, key: str) -> Observed:
        """Finds the latest worker of a try and watches it from now on."""

    def stop(self, key: str, worker: str, force: bool) -> None:
        """Asks the worker and its whole process tree to end; with `force` kills them."""

    def log_path(self, key: str) -> Path:
        """The try's log file on this machine."""

    def remove(self, key: str) -> None:
        """Removes everything of the try. Its worker must be gone."""

    def sweep(self, partition: int, live: Collection[str]) -> None:
        """Kills and removes what is here of tries of an order partition that are not among `live` keys."""

    async def close(self, stop_workers: bool) -> None: ...
