"""Task and run states as small integers, and the groups that the rules speak of.

The numbers are those of `spinner.common.v1.TaskState`; EXPANDED is internal: the slot of a mapped task whose
instances stand for it.
"""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Outcome, RunState, TaskState

NONE = int(TaskState.TASK_STATE_NONE)
SCHEDULED = int(TaskState.TASK_STATE_SCHEDULED)
QUEUED = int(TaskState.TASK_STATE_QUEUED)
RUNNING = int(TaskState.TASK_STATE_RUNNING)
DEFERRED = int(TaskState.TASK_STATE_DEFERRED)
UP_FOR_RETRY = int(TaskState.TASK_STATE_UP_FOR_RETRY)
UP_FOR_RESCHEDULE = int(TaskState.TASK_STATE_UP_FOR_RESCHEDULE)
SUCCESS = int(TaskState.TASK_STATE_SUCCESS)
FAILED = int(TaskState.TASK_STATE_FAILED)
SKIPPED = int(TaskState.TASK_STATE_SKIPPED)
UPSTREAM_FAILED = int(TaskState.TASK_STATE_UPSTREAM_FAILED)
REMOVED = int(TaskState.TASK_STATE_REMOVED)
RESTARTING = int(TaskState.TASK_STATE_RESTARTING)
EXPANDED = 14

# Which counter of a downstream slot a state belongs to; 0: none, it is not finished.
CATEGORY = bytes({SUCCESS: 1, FAILED: 2, SKIPPED: 3, UPSTREAM_FAILED: 4}.get(state, 0) for state in range(EXPANDED + 1))
FINISHED = bytes(
    1 if state in (SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED, REMOVED, EXPANDED) else 0 for state in range(EXPANDED + 1)
)
# A worker may exist: counts against max_active_tasks and holds its pool slots.
HOLDING = bytes(1 if state in (QUEUED, RUNNING, RESTARTING) else 0 for state in range(EXPANDED + 1))
# An order exists whose end the executor will report.
OPEN = bytes(1 if state in (QUEUED, RUNNING, RESTARTING, DEFERRED) else 0 for state in range(EXPANDED + 1))
# Something will happen by itself: the run is not stuck.
MOVING = bytes(
    1 if state in (SCHEDULED, QUEUED, RUNNING, RESTARTING, DEFERRED, UP_FOR_RETRY, UP_FOR_RESCHEDULE) else 0
    for state in range(EXPANDED + 1)
)

RUN_QUEUED = int(RunState.RUN_STATE_QUEUED)
RUN_RUNNING = int(RunState.RUN_STATE_RUNNING)
RUN_SUCCESS = int(RunState.RUN_STATE_SUCCESS)
RUN_FAILED = int(RunState.RUN_STATE_FAILED)

_FEW = (1, 5, 15)
_PATIENT = (1, 5, 15, 60, 300)
# Ends that are nobody's fault but the platform's: tried again after so many seconds without using up the task's
# retries, as often as there are delays. The free tries of all codes are counted together, so the longest list bounds
# them all. What is not here is the task's (or its author's) own and counts: a lack of memory, a wrong configuration.
FREE_RETRIES: dict[int, tuple[int, ...]] = {
    Outcome.OUTCOME_LOST: _FEW,
    Outcome.OUTCOME_LAUNCH_FAILED: _FEW,
    Outcome.OUTCOME_NEVER_SCHEDULED: _FEW,
    Outcome.OUTCOME_DELETED: _FEW,
    # A registry that is away for a moment, or a name that will never be right.
    Outcome.OUTCOME_IMAGE_PULL_FAILED: (15, 60, 300),
    # A cluster that is being drained or is short of room does this again and again.
    Outcome.OUTCOME_EVICTED: _PATIENT,
    Outcome.OUTCOME_NODE_OUT_OF_MEMORY: _PATIENT,
    Outcome.OUTCOME_NODE_LOST: _PATIENT,
    Outcome.OUTCOME_PREEMPTED: (*_PATIENT, *(300,) * 5),
}


def free_retry_delay(outcome: int, started: bool, free: int) -> int | None:
    """Returns the seconds until a try that the platform ended is made again, None when its end counts.

    `free`: tries that did not count so far. A crash is the platform's fault when no user code had started.
    """
    if outcome == Outcome.OUTCOME_CRASHED and not started:
        outcome = Outcome.OUTCOME_LAUNCH_FAILED
    delays = FREE_RETRIES.get(outcome, ())
    return delays[free] if free < len(delays) else None


TASK_STATE_NAMES = {
    state: TaskState.Name(state).removeprefix("TASK_STATE_").lower()  # type: ignore[arg-type]
    for state in range(1, EXPANDED)
}
RUN_STATE_NAMES = {
    state: RunState.Name(state).removeprefix("RUN_STATE_").lower()  # type: ignore[arg-type]
    for state in range(1, 5)
}
