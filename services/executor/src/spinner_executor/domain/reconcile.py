"""Level-triggered reconciliation of one try: its situation in, the one next action out.

The caller performs the action, which changes the situation, and asks again whenever anything changed: an order
record, a grant, a worker's end, an acknowledged report. Asking twice with the same situation gives the same
action, and every action is idempotent, so it doesn't matter which event led here.
"""

from __future__ import annotations

import enum

from spinner_executor.domain.model import Desired, Situation, WorkerState


class Action(enum.Enum):
    NOTHING = "nothing"
    # Launch a worker for the ordered segment (under the granted name, if there is a grant).
    LAUNCH = "launch"
    # Ask the worker to stop, by force after the grace period.
    KILL = "kill"
    # The worker is gone without a report: classify, make the end durable, report.
    DECLARE_END = "declare_end"
    # The user cancelled and no worker is left: make that end durable, report.
    DECLARE_CANCELLED = "declare_cancelled"
    # The known end is not acknowledged yet.
    REPORT_END = "report_end"
    # Granted to a worker that cannot be seen from here: when its lease is over, it is lost.
    AWAIT_LEASE = "await_lease"
    START_TRIGGER = "start_trigger"
    # The order is gone: remove the worker, its folder, its trigger and its grant.
    REMOVE = "remove"


def reconcile(s: Situation) -> Action:
    """Returns what to do next for a try."""
    if s.desired is Desired.ABSENT:
        return Action.REMOVE
    if s.desired is Desired.DEFERRED:
        return Action.NOTHING if s.trigger_segment >= s.segment else Action.START_TRIGGER
    cancelled_meanwhile = s.desired is Desired.CANCELLED and not s.end_is_final and s.end_reported
    if s.ended_segment >= s.segment and not cancelled_meanwhile:
        return Action.NOTHING if s.end_reported else Action.REPORT_END
    worker = s.worker_state if s.worker_segment == s.segment else WorkerState.NONE
    if worker is WorkerState.NONE and s.granted_segment == s.segment and s.worker_state is WorkerState.FOREIGN:
        worker = WorkerState.FOREIGN
    if worker is WorkerState.FOREIGN:
        return Action.AWAIT_LEASE
    if s.desired is Desired.CANCELLED:
        if worker in (WorkerState.ALIVE, WorkerState.LAUNCHING):
            return Action.NOTHING if s.killing else Action.KILL
        return Action.DECLARE_CANCELLED
    if worker is WorkerState.GONE:
        return Action.DECLARE_END
    if worker is WorkerState.NONE:
        return Action.LAUNCH
    return Action.NOTHING


def may_start(s: Situation, worker: str, segment: int) -> bool:
    """True when `worker` may run user code for `segment`: the order is live and nobody else has the grant."""
    if s.desired is not Desired.RUNNING or s.segment != segment or s.ended_segment >= segment or s.killing:
        return False
    return s.granted_segment < segment or (s.granted_segment == segment and s.granted_worker == worker)
