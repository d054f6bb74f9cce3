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

# Ends that are nobody's fault but the platform's: tried again without using up the task's retries.
INFRASTRUCTURE = frozenset(
    {
        Outcome.OUTCOME_LOST,
        Outcome.OUTCOME_LAUNCH_FAILED,
        Outcome.OUTCOME_EVICTED,
        Outcome.OUTCOME_NODE_OUT_OF_MEMORY,
        Outcome.OUTCOME_PREEMPTED,
        Outcome.OUTCOME_NODE_LOST,
        Outcome.OUTCOME_IMAGE_PULL_FAILED,
        Outcome.OUTCOME_NEVER_SCHEDULED,
        Outcome.OUTCOME_DELETED,
    }
)
MAX_INFRASTRUCTURE_TRIES = 3


def is_infrastructure(outcome: int, started: bool) -> bool:
    """Whether an end is the platform's fault: a crash is when no user code had started."""
    return outcome in INFRASTRUCTURE or (outcome == Outcome.OUTCOME_CRASHED and not started)


TASK_STATE_NAMES = {
    state: TaskState.Name(state).removeprefix("TASK_STATE_").lower()  # type: ignore[arg-type]
    for state in range(1, EXPANDED)
}
RUN_STATE_NAMES = {
    state: RunState.Name(state).removeprefix("RUN_STATE_").lower()  # type: ignore[arg-type]
    for state in range(1, 5)
}
