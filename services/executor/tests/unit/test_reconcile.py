"""Every situation of a try has one right next action."""

from __future__ import annotations

import pytest
from spinner_executor.domain.model import Desired, Situation, WorkerState
from spinner_executor.domain.reconcile import Action, may_start, reconcile

R, D, C, A = Desired.RUNNING, Desired.DEFERRED, Desired.CANCELLED, Desired.ABSENT
W = WorkerState


@pytest.mark.parametrize(
    ("situation", "action"),
    [
        (Situation(R, 0), Action.LAUNCH),
        # Granted here to a worker that never came to be: the same name is launched.
        (Situation(R, 0, granted_segment=0, granted_worker="w"), Action.LAUNCH),
        (Situation(R, 0, worker_state=W.LAUNCHING, worker_segment=0), Action.NOTHING),
        (Situation(R, 0, worker_state=W.ALIVE, worker_segment=0), Action.NOTHING),
        (Situation(R, 0, worker_state=W.GONE, worker_segment=0), Action.DECLARE_END),
        # The next segment doesn't wait for the earlier one's process.
        (Situation(R, 1, worker_state=W.ALIVE, worker_segment=0, ended_segment=0, end_reported=True), Action.LAUNCH),
        (Situation(R, 1, worker_state=W.GONE, worker_segment=0, ended_segment=0), Action.LAUNCH),
        # A worker elsewhere is given the time of its lease.
        (Situation(R, 0, granted_segment=0, granted_worker="x", worker_state=W.FOREIGN), Action.AWAIT_LEASE),
        (Situation(C, 0, granted_segment=0, granted_worker="x", worker_state=W.FOREIGN), Action.AWAIT_LEASE),
        # An end that is known but not acknowledged is reported, also when the worker still lives or is gone.
        (Situation(R, 0, worker_state=W.ALIVE, worker_segment=0, ended_segment=0), Action.REPORT_END),
        (Situation(R, 0, worker_state=W.GONE, worker_segment=0, ended_segment=0), Action.REPORT_END),
        (Situation(R, 0, worker_state=W.GONE, worker_segment=0, ended_segment=0, end_reported=True), Action.NOTHING),
        (Situation(C, 0), Action.DECLARE_CANCELLED),
        (Situation(C, 0, worker_state=W.ALIVE, worker_segment=0), Action.KILL),
        (Situation(C, 0, worker_state=W.LAUNCHING, worker_segment=0), Action.KILL),
        (Situation(C, 0, worker_state=W.ALIVE, worker_segment=0, killing=True), Action.NOTHING),
        (Situation(C, 0, worker_state=W.GONE, worker_segment=0, killing=True), Action.DECLARE_CANCELLED),
        (Situation(C, 0, ended_segment=0, end_reported=True), Action.NOTHING),
        # Cancelled while its worker deferred: the scheduler waits for an end.
        (Situation(C, 0, ended_segment=0, end_reported=True, end_is_final=False), Action.DECLARE_CANCELLED),
        (Situation(C, 0, ended_segment=0, end_is_final=False), Action.REPORT_END),
        (Situation(C, 1, ended_segment=0, end_reported=True, end_is_final=False), Action.DECLARE_CANCELLED),
        (Situation(D, 0, ended_segment=0, end_reported=True), Action.START_TRIGGER),
        (Situation(D, 1, trigger_segment=0), Action.START_TRIGGER),
        (Situation(D, 1, trigger_segment=1), Action.NOTHING),
        (Situation(A, 0), Action.REMOVE),
        (Situation(A, 0, worker_state=W.ALIVE, worker_segment=0), Action.REMOVE),
    ],
)
def test_the_next_action(situation: Situation, action: Action) -> None:
    assert reconcile(situation) is action


def test_a_start_is_granted_to_one_worker_of_a_live_order() -> None:
    assert may_start(Situation(R, 2, granted_segment=1, granted_worker="old"), "w", 2)
    assert may_start(Situation(R, 2, granted_segment=2, granted_worker="w"), "w", 2)


@pytest.mark.parametrize(
    "situation",
    [
        Situation(R, 2, granted_segment=2, granted_worker="another"),
        Situation(R, 3),
        Situation(C, 2),
        Situation(D, 2),
        Situation(A, 2),
        Situation(R, 2, ended_segment=2),
        Situation(R, 2, killing=True),
    ],
)
def test_a_start_is_refused(situation: Situation) -> None:
    assert not may_start(situation, "w", 2)
