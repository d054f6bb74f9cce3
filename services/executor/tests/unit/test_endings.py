"""Every ending has its own code."""

from __future__ import annotations

import signal

import pytest
from spinner_executor.domain.endings import classify_exit, refine_reported
from spinner_executor.domain.model import Exit
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded

MIB = 1 << 20


@pytest.mark.parametrize(
    ("exit", "limit", "started", "outcome"),
    [
        (Exit(signal=signal.SIGKILL), 0, True, c.OUTCOME_CRASHED),
        (Exit(signal=signal.SIGSEGV), 0, True, c.OUTCOME_CRASHED),
        (Exit(signal=signal.SIGKILL, oom_kill_seen=True), 0, True, c.OUTCOME_OUT_OF_MEMORY),
        (Exit(signal=signal.SIGKILL, peak_memory_bytes=99 * MIB), 100 * MIB, True, c.OUTCOME_OUT_OF_MEMORY),
        (Exit(signal=signal.SIGKILL, peak_memory_bytes=50 * MIB), 100 * MIB, True, c.OUTCOME_CRASHED),
        (Exit(signal=signal.SIGTERM, peak_memory_bytes=99 * MIB), 100 * MIB, True, c.OUTCOME_CRASHED),
        (Exit(exit_code=75), 0, True, c.OUTCOME_LOST),
        (Exit(), 0, True, c.OUTCOME_LOST),
        (Exit(exit_code=0), 0, True, c.OUTCOME_CRASHED),
        (Exit(exit_code=3), 0, True, c.OUTCOME_CRASHED),
        (Exit(exit_code=1), 0, False, c.OUTCOME_LAUNCH_FAILED),
        (Exit(launch_error="no processes left"), 0, False, c.OUTCOME_LAUNCH_FAILED),
    ],
)
def test_an_exit_without_a_report(exit: Exit, limit: int, started: bool, outcome: int) -> None:
    ending = classify_exit(exit, limit, started)
    assert ending.outcome == outcome
    assert ending.message


def test_a_memory_error_at_a_limit_is_out_of_memory() -> None:
    ended = TaskEnded(outcome=c.OUTCOME_FAILED, exception_classes=["builtins.MemoryError"], message="m")
    assert refine_reported(ended, 64 * MIB, False).outcome == c.OUTCOME_OUT_OF_MEMORY
    assert "64 MiB" in ended.message


def test_a_failure_after_a_cancellation_is_a_kill_and_a_success_stays_one() -> None:
    failed = refine_reported(TaskEnded(outcome=c.OUTCOME_FAILED), 0, True)
    assert failed.outcome == c.OUTCOME_KILLED_BY_USER
    assert refine_reported(TaskEnded(outcome=c.OUTCOME_SUCCESS), 0, True).outcome == c.OUTCOME_SUCCESS
