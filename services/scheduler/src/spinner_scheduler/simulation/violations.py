"""The names of all that must hold, and how it is said that something does not."""

from __future__ import annotations

from collections.abc import Callable

INVARIANTS = {
    "one_run_per_interval": "every due interval gets at most one run",
    "no_interval_missed": "with catch-up, every interval that came due has its run",
    "no_try_ordered_twice": "a try whose order was tombstoned is never ordered again",
    "no_try_launched_twice": "each segment of a try is launched once",
    "a_try_ends_once": "a try has one end",
    "one_execution_record": "each ended try has exactly one execution record",
    "finished_stays_finished": "a finished task never runs again by itself: only a clear or a mark changes it",
    "limits_hold": "limits of runs, tasks and pools are never exceeded, over all partitions",
    "slots_come_back": "when everything has ended, no pool has slots in use or requests open",
    "every_run_ends": "every run ends",
    "comes_to_rest": "a world in which nothing happens any more comes to rest",
    "no_order_is_left": "when everything has ended, every order is tombstoned",
    "each_command_is_answered_once": "each command has exactly one answer, however often it was sent",
    "fold_equals_live_state": "all events applied to nothing give the live state",
    "snapshots_equal_live_state": "snapshots and the events after them give the live state",
    "standby_equals_live_state": "what a standby followed, and the events after it, give the live state",
    "one_writer": "an owner that was replaced commits nothing",
    "each_partition_has_one_owner": "when all is calm, each partition has one owner",
    "backfills_take_each_interval_once": "a backfill takes up each of its intervals once, in order, and it has a run",
    "a_backfill_ends_once": "a backfill ends once",
    "every_backfill_ends": "every backfill ends",
    "what_waits_is_explained": "explain is never empty for what waits, and empty for what has ended",
    "nothing_is_forgotten": "in a settled state nothing waits for the next decision",
    "an_update_reaches_a_dag_once": "an update of an asset reaches each DAG that waits for it at most once",
    "updates_are_numbered": "the updates of an asset are numbered without gaps",
    "an_update_counts_for_one_run": "a DAG makes one run of an update of an asset, that of the update's partition",
    "watchers_count_each_event_once": "each event of a watcher's source makes one update, in order",
    "sums_agree": "what is derived by sums equals what is summed",
}


class ViolatedError(BaseException):
    """The invariant `name` does not hold. Nothing that handles the failures of a scheduler takes it for one."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name} ({INVARIANTS[name]}): {text}")
        self.name = name


def require(holds: bool, name: str, text: str | Callable[[], str]) -> None:
    """Raises ViolatedError unless `holds`. A text that takes long to make is given as a function."""
    if not holds:
        raise ViolatedError(name, text if isinstance(text, str) else text())
