"""Deciding while committing, without threads: a transaction is in flight until dice say so or its owner waits for it.

The loop hands its transactions to an executor and decides the next batch meanwhile. This executor only notes them. A
look at whether one is done may find that it is; waiting for it ends it. So whatever a commit may meet (an abort, a lost
answer, a fence, the death of its process) it meets with the next batch decided, after other partitions and processes
have had their turns.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from spinner_eventlog.owned_partition import OwnedPartition

from spinner_scheduler.simulation.violations import ViolatedError

if TYPE_CHECKING:
    from spinner_scheduler.simulation.processes import Process

_DONE_CHANCE = 0.4
_TOO_SLOW_CHANCE = 0.2


class Died(BaseException):
    """The process is killed here."""


class Flight(Future[Any]):
    """A commit that happens when `fly` is called for the first time."""

    def __init__(self, process: Process, owned: OwnedPartition, commit: Callable[[], object]) -> None:
        super().__init__()
        self._process, self._owned, self._commit = process, owned, commit
        self.flown = False

    def done(self) -> bool:
        if self._process.dice.random() < _DONE_CHANCE:
            self.fly()
        return super().done()

    def result(self, timeout: float | None = None) -> Any:
        """Who waits with a time-out may not see its end: then it arrives later, perhaps at a successor's fence."""
        if timeout is not None and not self.flown and self._process.dice.random() < _TOO_SLOW_CHANCE:
            self._process.world.later(timeout, self._arrive)
        else:
            self.fly()
        return super().result(0)

    def fly(self) -> None:
        """Commits. What the commit raises is told to who waits."""
        if self.flown:
            return
        self.flown = True
        totals, ahead = self._process.world.totals, bool(self._owned._next.sizes)
        totals.ahead += ahead
        self._process.ahead = ahead
        try:
            self.set_result(self._commit())
        except ViolatedError:
            raise
        except BaseException as error:  # noqa: BLE001 - told to who waits
            totals.undone += ahead
            if ahead:
                self._process.world.memories.suspect(self._owned.topic, self._owned.partition)
            self.set_exception(error)
        finally:
            self._process.ahead = False

    def _arrive(self) -> None:
        if self._process.awake():
            self.fly()
            if isinstance(self.exception(), Died):
                self._process.world.died(self._process)
        elif self._process.alive:
            self._process.world.later(1, self._arrive)


class Commits(Executor):
    """The commits of a process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        flight = Flight(self._process, fn.__self__, lambda: fn(*args, **kwargs))  # type: ignore[attr-defined]
        self._process.flights = [other for other in self._process.flights if not other.flown] + [flight]
        return flight

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to end: flights that nobody waits for may still arrive."""
