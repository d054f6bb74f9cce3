"""Why something waits: every reason has a stable code. docs/explain.md lists them with what to do.

Codes are part of the API: they may be added, never renamed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """What holds a DAG's next run, a run or a task instance back."""

    # A DAG's next run.
    DAG_PAUSED = "DAG_PAUSED"
    DAG_PAUSED_BY_FAILURES = "DAG_PAUSED_BY_FAILURES"
    DAG_REMOVED = "DAG_REMOVED"
    DEFINITION_MISSING = "DEFINITION_MISSING"
    NO_SCHEDULE = "NO_SCHEDULE"
    NO_START_DATE = "NO_START_DATE"
    START_DATE_AHEAD = "START_DATE_AHEAD"
    END_DATE_PASSED = "END_DATE_PASSED"
    SCHEDULE_EXHAUSTED = "SCHEDULE_EXHAUSTED"
    TIMETABLE_EXHAUSTED = "TIMETABLE_EXHAUSTED"
    TIMETABLE_NOT_EVALUATED = "TIMETABLE_NOT_EVALUATED"
    TIMETABLE_PART_PENDING = "TIMETABLE_PART_PENDING"
    TIMETABLE_ANSWER_PENDING = "TIMETABLE_ANSWER_PENDING"
    SCHEDULE_INVALID = "SCHEDULE_INVALID"
    ONCE_DONE = "ONCE_DONE"
    ASSETS_NOT_UPDATED = "ASSETS_NOT_UPDATED"
    ASSET_PARTITION_PENDING = "ASSET_PARTITION_PENDING"
    ASSET_UPDATE_IGNORED = "ASSET_UPDATE_IGNORED"
    NOT_DUE = "NOT_DUE"
    CATCHUP_OFF = "CATCHUP_OFF"
    PREVIOUS_RUN_ACTIVE = "PREVIOUS_RUN_ACTIVE"
    # A DAG's next run, and runs that are queued.
    MAX_ACTIVE_RUNS = "MAX_ACTIVE_RUNS"
    BACKFILL_PAUSED = "BACKFILL_PAUSED"
    BACKFILL_MAX_ACTIVE_RUNS = "BACKFILL_MAX_ACTIVE_RUNS"
    # A run.
    LAYOUT_PENDING = "LAYOUT_PENDING"
    VERSION_PENDING = "VERSION_PENDING"
    RUN_TIMEOUT_AHEAD = "RUN_TIMEOUT_AHEAD"
    DEADLINE_AHEAD = "DEADLINE_AHEAD"
    DEADLINE_MISSED = "DEADLINE_MISSED"
    # A task instance.
    RUN_NOT_STARTED = "RUN_NOT_STARTED"
    UPSTREAM_NOT_DONE = "UPSTREAM_NOT_DONE"
    MAP_LENGTH_PENDING = "MAP_LENGTH_PENDING"
    SETUP_NOT_DONE = "SETUP_NOT_DONE"
    DEPENDS_ON_PAST = "DEPENDS_ON_PAST"
    WAIT_FOR_DOWNSTREAM = "WAIT_FOR_DOWNSTREAM"
    RETRY_DELAY = "RETRY_DELAY"
    RESCHEDULED = "RESCHEDULED"
    DEFERRED = "DEFERRED"
    DECISION_PENDING = "DECISION_PENDING"
    POOL_FULL = "POOL_FULL"
    POOL_QUEUE = "POOL_QUEUE"
    POOL_MISSING = "POOL_MISSING"
    POOL_HAS_NO_SLOTS = "POOL_HAS_NO_SLOTS"
    POOL_TOO_SMALL = "POOL_TOO_SMALL"
    POOL_NOT_ANSWERED = "POOL_NOT_ANSWERED"
    MAX_ACTIVE_TASKS = "MAX_ACTIVE_TASKS"
    MAX_ACTIVE_TIS_PER_DAG = "MAX_ACTIVE_TIS_PER_DAG"
    MAX_ACTIVE_TIS_PER_RUN = "MAX_ACTIVE_TIS_PER_RUN"
    NO_EXECUTOR_ANSWER = "NO_EXECUTOR_ANSWER"
    EXECUTOR_PENDING = "EXECUTOR_PENDING"
    LAUNCHED_NOT_STARTED = "LAUNCHED_NOT_STARTED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    RESTARTING = "RESTARTING"
    # Anything.
    NOT_EXAMINED = "NOT_EXAMINED"
    NEXT_DECISION = "NEXT_DECISION"


class Entry(NamedTuple):
    """`title`: what it means, in a few words. `fix`: how a person ends it, with {dag}, {run}, {task} and {pool}."""

    title: str
    fix: str


CATALOGUE: dict[Code, Entry] = {
    Code.DAG_PAUSED: Entry("the DAG is paused", "Unpause it: spinner dags unpause {dag}"),
    Code.DAG_PAUSED_BY_FAILURES: Entry(
        "too many runs in a row failed, which paused the DAG",
        "Mend what fails, then: spinner dags unpause {dag}",
    ),
    Code.DAG_REMOVED: Entry(
        "the DAG is no longer in its bundle",
        "Bring its file back, or delete its history if it is gone for good.",
    ),
    Code.DEFINITION_MISSING: Entry(
        "the definition of the DAG's current version can't be found",
        "Have dag-sync publish it again: change the file, or restart dag-sync.",
    ),
    Code.NO_SCHEDULE: Entry(
        "the DAG has no schedule", "Trigger it: spinner dags trigger {dag}. Or give it a schedule."
    ),
    Code.NO_START_DATE: Entry(
        "catchup is on, but there is no start_date to begin at", "Set start_date in the DAG, or catchup=False."
    ),
    Code.START_DATE_AHEAD: Entry(
        "the start_date of the DAG is in the future",
        "Wait, set an earlier start_date, or trigger it: spinner dags trigger {dag}",
    ),
    Code.END_DATE_PASSED: Entry(
        "the end_date of the DAG is reached",
        "Set a later end_date, or trigger it: spinner dags trigger {dag}",
    ),
    Code.SCHEDULE_EXHAUSTED: Entry(
        "the schedule has no further date", "Correct the cron expression: no date after the last one matches it."
    ),
    Code.TIMETABLE_EXHAUSTED: Entry(
        "the timetable has no further run",
        "The next parse of the file may bring more; if not, extend the timetable.",
    ),
    Code.TIMETABLE_NOT_EVALUATED: Entry(
        "the custom timetable of this version has not been evaluated yet",
        "See whether dag-sync runs (spinner status) and the parse errors of the file.",
    ),
    Code.TIMETABLE_PART_PENDING: Entry(
        "the next part of the custom timetable has not been told yet",
        "See whether dag-sync runs (spinner status) and the parse errors of the file: the timetable may raise or hang.",
    ),
    Code.TIMETABLE_ANSWER_PENDING: Entry(
        "a run by hand or a backfill waits for the custom timetable to say its data interval",
        "See whether dag-sync runs (spinner status) and the parse errors of the file: the timetable may raise or hang.",
    ),
    Code.SCHEDULE_INVALID: Entry("the schedule can't be evaluated", "Correct the schedule in the DAG's file."),
    Code.ONCE_DONE: Entry("the one run of an @once schedule was made", "Trigger another: spinner dags trigger {dag}"),
    Code.ASSETS_NOT_UPDATED: Entry(
        "assets that the DAG is scheduled by have not been updated",
        "Let their producers run, or trigger the DAG by hand: spinner dags trigger {dag}",
    ),
    Code.ASSET_PARTITION_PENDING: Entry(
        "a run of a partition waits for that partition of other assets",
        "Let their producers run for it, or trigger the DAG: spinner dags trigger {dag} --partition-key KEY",
    ),
    Code.ASSET_UPDATE_IGNORED: Entry(
        "the latest update of an asset counts for no run",
        "Give the update a partition key that the DAG's schedule understands, or change the schedule.",
    ),
    Code.NOT_DUE: Entry("the next run is not due yet", "Wait, or trigger a run now: spinner dags trigger {dag}"),
    Code.CATCHUP_OFF: Entry(
        "catchup is off, so earlier intervals get no run", "Set catchup=True to have them made, or backfill them."
    ),
    Code.PREVIOUS_RUN_ACTIVE: Entry(
        "the run before has not ended, and @continuous has one at a time", "Wait for it, or stop it."
    ),
    Code.MAX_ACTIVE_RUNS: Entry(
        "as many runs are active as max_active_runs allows",
        "Wait until one ends, stop one (spinner runs stop {dag} RUN), or raise max_active_runs of the DAG.",
    ),
    Code.BACKFILL_PAUSED: Entry(
        "the backfill of the run is paused", "Resume it: spinner backfill resume {dag} BACKFILL"
    ),
    Code.BACKFILL_MAX_ACTIVE_RUNS: Entry(
        "as many runs of its backfill are active as may be",
        "Wait until one ends, or stop one: spinner runs stop {dag} RUN",
    ),
    Code.VERSION_PENDING: Entry(
        "the run takes another version when its tries in progress have been killed",
        "Wait until they have ended: spinner tasks list {dag} {run}",
    ),
    Code.LAYOUT_PENDING: Entry(
        "a worker computes the layout of the run",
        "Wait; if it takes long, see whether executors run (spinner status) and the log of __layout__.",
    ),
    Code.RUN_TIMEOUT_AHEAD: Entry(
        "the run fails when its dagrun_timeout comes", "Raise dagrun_timeout of the DAG if the run needs more time."
    ),
    Code.DEADLINE_AHEAD: Entry(
        "a deadline of the run comes", "Nothing is stopped by it; its callback runs if it is missed."
    ),
    Code.DEADLINE_MISSED: Entry(
        "a deadline of the run was missed", "Nothing is stopped by it; see what the run waits for."
    ),
    Code.RUN_NOT_STARTED: Entry("the run has not started", "See what the run waits for: spinner explain {dag} {run}"),
    Code.UPSTREAM_NOT_DONE: Entry(
        "upstream tasks have not ended",
        "See what they wait for, or mark them: spinner tasks mark {dag} {run} TASK --state success",
    ),
    Code.MAP_LENGTH_PENDING: Entry(
        "the tasks that give the length of the expansion have not ended", "See what they wait for."
    ),
    Code.SETUP_NOT_DONE: Entry("a setup above the task has not ended", "See what the setup waits for."),
    Code.DEPENDS_ON_PAST: Entry(
        "depends_on_past: the task has not succeeded in the run before",
        "Clear it there once it can succeed, or mark it there as success.",
    ),
    Code.WAIT_FOR_DOWNSTREAM: Entry(
        "wait_for_downstream: a task below it has not succeeded in the run before",
        "Clear that task there, or mark it there as success.",
    ),
    Code.RETRY_DELAY: Entry(
        "the delay before the next try", "Wait, or start it now: spinner tasks clear {dag} {run} {task}"
    ),
    Code.RESCHEDULED: Entry(
        "a sensor sleeps until it looks again", "Wait, or end it: spinner tasks mark {dag} {run} {task} --state success"
    ),
    Code.DEFERRED: Entry(
        "a trigger has to fire", "Wait for what the trigger watches, or mark the task as success or failed."
    ),
    Code.DECISION_PENDING: Entry(
        "a person has to decide", "Decide: spinner decisions decide {dag} {run} {task} --choose OPTION"
    ),
    Code.POOL_FULL: Entry(
        "all slots of the pool are taken", "Wait until a holder ends, or give it more: spinner pools set {pool} SLOTS"
    ),
    Code.POOL_QUEUE: Entry(
        "another task is before it in the queue of the pool and needs more slots than are free",
        "Wait, raise the priority_weight of the task, or give the pool more: spinner pools set {pool} SLOTS",
    ),
    Code.POOL_MISSING: Entry("the pool does not exist", "Create it: spinner pools set {pool} SLOTS"),
    Code.POOL_HAS_NO_SLOTS: Entry("the pool has no slots", "Give it some: spinner pools set {pool} SLOTS"),
    Code.POOL_TOO_SMALL: Entry(
        "the task wants more slots than the pool has",
        "Make the pool larger (spinner pools set {pool} SLOTS), or lower pool_slots of the task.",
    ),
    Code.POOL_NOT_ANSWERED: Entry(
        "the partition that owns the pool has not granted a slot",
        "See who holds the pool; if it has free slots, see whether that partition has an owner: spinner status",
    ),
    Code.MAX_ACTIVE_TASKS: Entry(
        "as many tasks of the run are active as max_active_tasks allows",
        "Wait until one ends, or raise max_active_tasks of the DAG.",
    ),
    Code.MAX_ACTIVE_TIS_PER_DAG: Entry(
        "as many instances of the task are active in all runs as max_active_tis_per_dag allows",
        "Wait until one ends, or raise max_active_tis_per_dag of the task.",
    ),
    Code.MAX_ACTIVE_TIS_PER_RUN: Entry(
        "as many instances of the task are active in the run as max_active_tis_per_dagrun allows",
        "Wait until one ends, or raise max_active_tis_per_dagrun of the task.",
    ),
    Code.NO_EXECUTOR_ANSWER: Entry(
        "no executor has answered the order",
        "See whether an executor of the cluster runs and has free slots: spinner status",
    ),
    Code.EXECUTOR_PENDING: Entry(
        "the executor's cluster does not start it yet", "Follow the cluster's message; it is retried all the time."
    ),
    Code.LAUNCHED_NOT_STARTED: Entry(
        "its worker was launched and has not started user code", "Wait some seconds; after that see the executor's log."
    ),
    Code.RUNNING: Entry("its worker runs", "See its log: spinner tasks logs {dag} {run} {task} --follow"),
    Code.CANCELLING: Entry(
        "its worker is being killed", "Wait for on_kill and the grace period; then see whether its executor runs."
    ),
    Code.RESTARTING: Entry(
        "it was cleared while it ran: its worker is being killed, then it begins anew", "Wait for the worker's end."
    ),
    Code.NOT_EXAMINED: Entry(
        "the run has more instances than are looked at one by one",
        "Ask about one of them: spinner explain {dag} {run} TASK",
    ),
    Code.NEXT_DECISION: Entry(
        "nothing holds it: the scheduler's next decision takes it on",
        "If this lasts longer than a second, see the scheduler's lag: spinner status",
    ),
}
