"""The promises by name, and what was found against them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

INVARIANTS = {
    "events_are_readable": "every record of the schedulers' own topics can be read",
    "time_never_goes_back": "the times of a partition's events never go back",
    "a_run_is_created_once": "a run is created once, before anything else is said of it",
    "one_run_per_interval": "each interval of a schedule gets at most one run",
    "one_open_try": "a task instance has one try at a time, and their numbers rise by one",
    "a_try_ends_once": "a try that was ordered ends once",
    "finished_stays_finished": "a finished task instance changes only when somebody clears or marks it",
    "a_successful_run_has_no_open_try": "a run succeeds by itself only when none of its tries is open",
    "max_active_tasks_holds": "a run never has more tries at work than its DAG's max_active_tasks",
    "max_active_runs_holds": "a DAG never has more running runs than its max_active_runs",
    "pool_grants_fit": "a pool never grants other partitions more slots than it has",
    "a_watched_event_counts_once": "an event that a watcher saw updates its asset once",
    "one_watcher_of_a_name": "an asset has one watcher of a name at a time",
    "each_command_is_answered_once": "each command that was taken has exactly one answer",
    "one_execution_record": "each ended try has exactly one execution record, which agrees with it",
    "no_try_is_ordered_twice": "a try whose order was tombstoned is never ordered again",
    "open_tries_have_orders": "a try at work has its order, and an ended one has none",
    "one_grant_per_segment": "each segment of a try is granted to one worker",
    "grants_follow_orders": "only tries that the scheduler ordered are granted",
    "one_worker_per_segment": "one worker reports the start of each segment of a try",
    "no_end_is_lost": "a try whose end was reported and read is not open any more",
    "every_run_ends": "no run is left (asked for only when all should have ended)",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that the record at this place breaks. `offset` −1: something is missing rather than wrong."""

    invariant: str
    text: str
    topic: str
    partition: int
    offset: int
    key: str


@dataclass(slots=True)
class Findings:
    """`checked`: how often each promise was looked at. At most `most` violations of each are kept; all are counted."""

    most: int = 100
    checked: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(INVARIANTS, 0)))
    broken: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    records: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    live_runs: int = 0
    tries: int = 0
    waiting_commands: int = 0

    def add(self, violation: Violation) -> None:
        self.broken[violation.invariant] += 1
        if self.broken[violation.invariant] <= self.most:
            self.violations.append(violation)
