"""Where workers live, behind one interface: `local` beside `kubernetes`.

A back end makes, watches and removes workers; it knows nothing of Kafka, grants or reports. Launching the same name
twice starts at most one worker, also across restarts of the executor and of the back end's own helpers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_executor.domain.model import Exit, WorkerState


class LaunchFailed(Exception):  # noqa: N818 - an answer
    """A worker could not be made; says why, for people. `outcome`: what kind of end that is."""

    def __init__(self, message: str, outcome: Outcome.ValueType = Outcome.OUTCOME_LAUNCH_FAILED) -> None:
        super().__init__(message)
        self.outcome = outcome


class Unproven(Exception):  # noqa: N818 - an answer
    """It cannot be told yet whether a token is good; ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A worker to make. `address`: where it reaches its executor; `token`: what it proves itself with, as `token` said.

    `file`: the unpacked bundle's folder and the DAG file in it, when they are known already.
    """

    key: str
    segment: int
    worker: str
    token: str
    address: str
    partition: int
    order: TaskOrder
    # What it should have and may have at most; 0: not said.
    memory_request_bytes: int = 0
    memory_limit_bytes: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    file: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A try's latest worker as found after a restart. `starting`: it is there, but does not run yet."""

    state: WorkerState
    worker: str = ""
    segment: int = -1
    token: str = ""
    exit: Exit | None = None
    starting: bool = False


class WorkerEvents(Protocol):
    """What a back end tells, on the event loop."""

    def exited(self, key: str, worker: str, exit: Exit) -> None:
        """The worker is gone. Once for each worker that was launched or observed."""

    def running(self, key: str, worker: str) -> None:
        """A worker whose launch had returned before it ran runs now."""

    def pending(self, key: str, worker: str, reason: str) -> None:
        """Why a worker does not run yet; each time that the reason changes."""


class Backend(Protocol):
    """All methods run on the event loop."""

    name: str
    # Workers see the files of this executor's machine, such as unpacked bundles.
    shares_files: bool
    # Workers run within moments of their launch, so the grant is written meanwhile. Otherwise it is written when the
    # worker asks for its start, and a granted worker that cannot be found has certainly existed.
    starts_at_once: bool
    # How many workers may live at once when the setting doesn't say.
    parallelism: int

    def worker_name(self, order: TaskOrder, key: str) -> str:
        """The name of the worker of the order's segment."""

    def token(self, worker: str, partition: int) -> str:
        """What the worker is to be given to prove itself with; "" where its place gives it a token."""

    def claimed(self, token: str) -> tuple[str, int]:
        """The worker and the order partition that a token speaks of, unchecked; "", -1 when it is no token."""

    def proves(self, token: str, worker: str, expected: str) -> bool:
        """Whether whoever has `token` is `worker`, whose own token is `expected`. Raises Unproven."""

    async def start(self, events: WorkerEvents) -> None:
        """Makes the back end ready."""

    async def open(self, partition: int) -> None:
        """Finds the workers of an order partition that is owned now, for `observe`. May take as long as it takes."""

    def release(self, partition: int) -> None:
        """The partition is not owned any more: its workers stay, unwatched."""

    def launch(self, launch: Launch) -> Coroutine[Any, Any, None]:
        """Makes the worker; awaiting it waits until it exists, and raises LaunchFailed."""

    def observe(self, key: str, order: TaskOrder, granted: str) -> Observed:
        """Finds the latest worker of a try and watches it from now on.

        `granted`: the worker that has the grant for the ordered segment, or "". FOREIGN: it may live elsewhere.
        """

    def stop(self, key: str, worker: str, force: bool, grace_seconds: float = 0.0) -> None:
        """Asks the worker to end, which is killed after `grace_seconds`; with `force` its process tree is killed now.

        The caller calls again with `force` when the grace is over.
        """

    def end_leftovers(self, key: str, worker: str) -> None:
        """Kills what a worker that is gone may have left running."""

    def disruption(self, worker: str) -> Exit | None:
        """Why the worker is being taken away by others than this executor, if it is."""

    async def why_taken(self, worker: str) -> Exit | None:
        """Why a worker that was told to end, and goes now, was, where `disruption` doesn't know yet; takes seconds."""

    async def why_lost(self, worker: str) -> Exit | None:
        """More about a worker whose lease is over, if anything is known."""

    async def why_crashed(self, worker: str) -> Exit | None:
        """More about what a worker that says it crashed had beside itself, if anything is known; takes seconds."""

    def log_path(self, key: str) -> Path:
        """The try's log file on this machine."""

    def read_log(self, worker: str) -> AsyncIterator[bytes]:
        """What the worker printed as its node kept it, for a worker that couldn't send all of it; may be nothing."""

    def retire(self, key: str, segment: int) -> None:
        """Workers of segments before `segment` are over and recorded: they may be removed."""

    def remove(self, key: str) -> None:
        """Removes everything of the try, whose end is recorded. Its worker is gone."""

    def sweep(self, partition: int, live: Collection[str]) -> list[str]:
        """Kills and removes what is here of tries of an order partition that are not among `live` keys.

        Returns those whose logs may not be in the object store yet; they are the caller's to `remove`.
        """

    async def close(self, stop_workers: bool) -> None: ...
