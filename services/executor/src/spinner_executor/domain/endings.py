"""Every ending told apart: what a worker's exit means when no report of it came.

Sources of the signal numbers: signal(7). 137 and 143 are what shells return for children that were killed.
"""

from __future__ import annotations

import signal as signals

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded

from spinner_executor.domain.model import Ending, Exit

# A worker ends with this status when it could not keep its lease (contract with spinner.runtime).
EXIT_LEASE_LOST = 75
# A worker ends with this status when its start was refused.
EXIT_START_REFUSED = 76


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def classify_exit(exit: Exit, memory_limit_bytes: int = 0, started: bool = True) -> Ending:
    """Returns the end of a worker that is gone without a report.

    `memory_limit_bytes` 0: no limit. `started`: its start had been granted, so user code may have run.
    """
    if exit.outcome != Outcome.OUTCOME_UNSPECIFIED:
        return Ending(exit.outcome, exit.message, exit.exit_code or (128 + exit.signal if exit.signal else 0))
    if exit.launch_error:
        return Ending(Outcome.OUTCOME_LAUNCH_FAILED, f"The worker could not be launched: {exit.launch_error}")
    if exit.signal is not None:
        name = _signal_name(exit.signal)
        if exit.signal == signals.SIGKILL and exit.oom_kill_seen:
            return Ending(
                Outcome.OUTCOME_OUT_OF_MEMORY,
                "The kernel killed the worker because memory ran out; ask for more memory or use less.",
                128 + exit.signal,
            )
        if (
            memory_limit_bytes
            and exit.signal in (signals.SIGKILL, signals.SIGSEGV, signals.SIGABRT, signals.SIGBUS)
            and exit.peak_memory_bytes >= 0.9 * memory_limit_bytes
        ):
            return Ending(
                Outcome.OUTCOME_OUT_OF_MEMORY,
                f"The worker died by {name} at its memory limit of {memory_limit_bytes >> 20} MiB; raise limit_memory.",
                128 + exit.signal,
            )
        return Ending(Outcome.OUTCOME_CRASHED, f"The worker was killed by {name} without a report.", 128 + exit.signal)
    if exit.exit_code == EXIT_LEASE_LOST:
        return Ending(
            Outcome.OUTCOME_LOST, "The worker could not reach its executor for a lease and stopped itself.", 75
        )
    if exit.exit_code is None:
        return Ending(Outcome.OUTCOME_LOST, "The worker is gone, and nothing is known of how it ended.")
    if exit.exit_code == 0 and started:
        return Ending(
            Outcome.OUTCOME_CRASHED,
            "The worker exited with status 0 before it reported an end; user code may have called os._exit.",
        )
    if not started:
        return Ending(
            Outcome.OUTCOME_LAUNCH_FAILED,
            f"The worker exited with status {exit.exit_code} before it started user code; see its log.",
            exit.exit_code,
        )
    return Ending(
        Outcome.OUTCOME_CRASHED, f"The worker exited with status {exit.exit_code} without a report.", exit.exit_code
    )


def refine_reported(ended: TaskEnded, memory_limit_bytes: int, killed_by_user: bool) -> TaskEnded:
    """Adjusts a worker's own report by what only the executor knows. Changes and returns `ended`."""
    failed = ended.outcome in (Outcome.OUTCOME_FAILED, Outcome.OUTCOME_UNSPECIFIED)
    if killed_by_user and ended.outcome != Outcome.OUTCOME_SUCCESS:
        if not ended.message or ended.outcome == Outcome.OUTCOME_DELETED:
            ended.message = "Cancelled by a user."
        ended.outcome = Outcome.OUTCOME_KILLED_BY_USER
    elif failed and any(name.rsplit(".", 1)[-1] == "MemoryError" for name in ended.exception_classes):
        ended.outcome = Outcome.OUTCOME_OUT_OF_MEMORY
        if memory_limit_bytes:
            ended.message = (
                f"Out of memory at the limit of {memory_limit_bytes >> 20} MiB; raise limit_memory. {ended.message}"
            ).strip()
    return ended
