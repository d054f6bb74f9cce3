"""Whose fault it is when a triggerer process dies, stands still or grows, and what becomes of its triggers.

All other triggers only start again, which they must bear. One that is to blame goes on in a process where it harms
only those like it; when it has ended processes so often, it has failed.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Sequence
from dataclasses import dataclass

# Deaths of a trigger's process that are borne.
MAX_STRIKES = 3
# So many deaths without a known cause within so many seconds: the triggers are halved, until the bad one is alone.
HALVING_DEATHS = 3
HALVING_SECONDS = 120.0
# A trigger that has the loop for so long at so many looks stops the others.
BLOCKED_SECONDS = 3.0
BLOCKED_LOOKS = 4
OUT_OF_MEMORY_STATUS = 77

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)


class Fault(enum.Enum):
    BLOCKED = "blocked"
    MEMORY = "memory"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Death:
    """How a triggerer process ended. `status` as of subprocess: negative for a signal."""

    status: int
    # The trigger that was in a step.
    stepping: str | None
    # The one in whose steps memory grew most, and by how much.
    grower: str | None
    grown_bytes: int
    # Why the executor ended it, if it did, and whose fault that was.
    fault: Fault | None = None
    culprit: str | None = None
    # What the culprit was doing.
    stack: str = ""


@dataclass(frozen=True, slots=True)
class Blame:
    """A trigger, and what it did, as a sentence without a subject."""

    identity: str
    fault: Fault
    what: str


def blame(death: Death, limit_bytes: int) -> Blame | None:
    """Who is to blame for a death; None when nobody is known to be (somebody killed the process)."""
    memory = death.fault is Fault.MEMORY or death.status == OUT_OF_MEMORY_STATUS
    if memory or (death.status == -signal.SIGKILL and death.fault is None):
        if death.grower is not None and death.grown_bytes > limit_bytes // 4:
            grown = death.grown_bytes >> 20
            return Blame(death.grower, Fault.MEMORY, f"took {grown} MiB of the {limit_bytes >> 20} MiB for triggers")
        if death.status != OUT_OF_MEMORY_STATUS:
            return None
    if death.fault is not None:
        if death.culprit is None:
            return None
        return Blame(death.culprit, death.fault, f"blocked the event loop for {BLOCKED_SECONDS:.0f} s and longer")
    if death.stepping is None:
        return None
    if death.status >= 0:
        return Blame(death.stepping, Fault.ENDED, f"ended its process with status {death.status}")
    if -death.status in _CRASHES:
        return Blame(death.stepping, Fault.ENDED, f"crashed its process ({signal.Signals(-death.status).name})")
    return None


def to_be_halved(deaths: Sequence[float], now: float, triggers: int) -> bool:
    """Whether a process that died again without anybody to blame is to be split. `deaths`: their times, seconds."""
    return triggers > 1 and sum(now - at < HALVING_SECONDS for at in deaths) >= HALVING_DEATHS


@dataclass(slots=True)
class Looks:
    """Looks at a process's latest step: has one trigger had the loop all the time?"""

    number: int = -1
    since: float = 0.0
    count: int = 0

    def blocked(self, number: int, slot: int | None, now: float) -> bool:
        """One more look, at `now` seconds. A look that is late proves nothing, so several are needed."""
        if slot is None or number != self.number:
            self.number, self.since, self.count = number, now, 0
            return False
        self.count += 1
        return self.count >= BLOCKED_LOOKS and now - self.since >= BLOCKED_SECONDS
