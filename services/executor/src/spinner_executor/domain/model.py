"""What the executor knows of one try, free of clocks, files and sockets.

A try is one attempt of a task instance; a *segment* is the part of it between two deferrals or reschedules.
The order (desired state), the grant (permission to run user code, fenced) and the worker (actual state) each
name a segment; reconciliation compares them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.orders.v1.orders_pb2 import TaskGrant, TaskOrder

SEQUENCE_LAUNCHED = 1
SEQUENCE_STARTED = 2
SEQUENCE_END = 3
SEQUENCE_TRIGGER_FIRED = 4


class Desired(enum.Enum):
    """What an order asks for; ABSENT is its tombstone."""

    RUNNING = "running"
    DEFERRED = "deferred"
    CANCELLED = "cancelled"
    ABSENT = "absent"


class WorkerState(enum.Enum):
    """A worker as its back end sees it."""

    # Nothing was ever launched under this name here.
    NONE = "none"
    LAUNCHING = "launching"
    ALIVE = "alive"
    GONE = "gone"
    # Granted to a worker of another place, which this executor cannot see.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker process ended, as far as it is known."""

    # Exit status, when it ended by itself.
    exit_code: int | None = None
    # Signal number, when a signal ended it.
    signal: int | None = None
    # Peak memory and CPU seconds from wait4.
    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0
    # The kernel's count of out-of-memory kills rose while the worker lived.
    oom_kill_seen: bool = False
    # Why it could not be launched at all.
    launch_error: str = ""
    # What the back end knows of the end beyond the status (evicted, deleted, node lost …), and in its words.
    outcome: Outcome.ValueType = Outcome.OUTCOME_UNSPECIFIED
    message: str = ""


@dataclass(slots=True)
class Situation:
    """One try, as reconciliation sees it."""

    desired: Desired
    segment: int
    # The segment that a grant was given for and its worker; -1 and "" without one.
    granted_segment: int = -1
    granted_worker: str = ""
    # The worker of the ordered segment.
    worker_state: WorkerState = WorkerState.NONE
    worker_segment: int = -1
    exit: Exit | None = None
    # The segment whose end is known, and whether its report is acknowledged by Kafka.
    ended_segment: int = -1
    end_reported: bool = False
    # False when the known end is a deferral or reschedule: the try itself is not over.
    end_is_final: bool = True
    # The segment whose trigger runs or has fired.
    trigger_segment: int = -1
    # A kill was asked for, and why.
    killing: bool = False


def desired_of(order: TaskOrder | None) -> Desired:
    if order is None:
        return Desired.ABSENT
    return {2: Desired.DEFERRED, 3: Desired.CANCELLED}.get(order.desired_state, Desired.RUNNING)


@dataclass(frozen=True, slots=True)
class Ending:
    """An end that the executor declares because no worker reported one."""

    outcome: Outcome.ValueType
    message: str
    exit_code: int = 0


@dataclass(slots=True)
class Restored:
    """A partition as read from the log by a new owner."""

    partition: int
    orders: dict[str, TaskOrder] = field(default_factory=dict)
    traceparents: dict[str, str] = field(default_factory=dict)
    grants: dict[str, TaskGrant] = field(default_factory=dict)
    # The first order record that was not read.
    next_offset: int = 0
