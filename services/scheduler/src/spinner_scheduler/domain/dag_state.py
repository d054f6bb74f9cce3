"""What a partition knows of one DAG: its latest version, its runs (awake, asleep, finished), what it waits for.

Live runs sleep as bytes after a restore and wake together when one is asked for; ended ones stay as bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, ExplicitSchedule
from spinner_proto.events.v1.events_pb2 import AssetReceived, DagUpdated, RunMeasured
from spinner_proto.inbox.v1.inbox_pb2 import AssetUpdated, Command, TimetableEvaluated

from spinner_scheduler.domain import schedules, snapshots
from spinner_scheduler.domain.asset_state import PartKey
from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.schedules import Timetable

# How many runs a DAG with deadlines remembers the durations of, and how many it takes to predict by them.
MEASURED_RUNS = 30
FEWEST_FOR_MEDIAN = 3


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A live run as its snapshot, counted but not decoded: a new owner decides before it has decoded everything."""

    data: bytes
    said: snapshots.Summary
    # What was added to the usage of each pool of ours for it.
    held: tuple[tuple[str, int], ...]
    backfill_id: str = ""


@dataclass(slots=True)
class DagState:
    """A DAG and its runs. `updated` is its latest DagUpdated: all that survives of it besides the runs.

    Either all live runs sleep or none: asking for `runs` wakes them.
    """

    dag_id: str
    updated: DagUpdated = field(default_factory=DagUpdated)
    removed: bool = False
    awake: dict[str, Run] = field(default_factory=dict)
    asleep: dict[str, Sleeper] = field(default_factory=dict)
    wake: Callable[[DagState], None] | None = None
    # As encoded, oldest first.
    finished: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    # (logical date, run id) of all runs that are known.
    by_date: list[tuple[int, str]] = field(default_factory=list)
    # (logical date, interval start, interval end) of those that succeeded, by date.
    successes: list[tuple[int, int, int]] = field(default_factory=list)
    # By id, in the order they were created.
    backfills: dict[str, Backfill] = field(default_factory=dict)
    # Logical dates after the last scheduled one that a backfill has taken up, in order.
    taken: list[int] = field(default_factory=list)
    # Derived: queued and running runs of each backfill; they are not among `active` and `queued`.
    backfill_runs: dict[str, list[int]] = field(default_factory=dict)
    # Derived: runs in state RUNNING, and task instances that hold a slot by task id (only of limited tasks).
    active: int = 0
    queued: int = 0
    # Live runs with tasks that may wait for earlier runs, whatever those runs' own versions ask for.
    looking_back: int = 0
    held_by_task: dict[str, int] = field(default_factory=dict)
    parked_by_task: dict[str, list[tuple[int, int, str, int]]] = field(default_factory=dict)
    parked_by_pause: list[tuple[str, int]] = field(default_factory=list)

    # How long its latest successful runs took, oldest first; only of a DAG with deadlines.
    measured: list[RunMeasured] = field(default_factory=list)
    # Updates of assets that wait for the rest of the DAG's condition, oldest first.
    updates: list[AssetUpdated] = field(default_factory=list)
    # Those of partitions, by the key of the run that they count for: the latest of each asset and key.
    partitioned: dict[str, dict[PartKey, AssetUpdated]] = field(default_factory=dict)
    # The latest that counts for no run.
    ignored: AssetReceived | None = None
    # The intervals of a custom timetable, as far as they are known, and what they were made into.
    evaluated: TimetableEvaluated | None = None
    # Commands that wait for the custom timetable's answer, by request id.
    held: dict[str, Command] = field(default_factory=dict)
    _explicit: tuple[TimetableEvaluated, Timetable] | None = None

    def timetable(self, definition: DagDefinition) -> Timetable:
        """The timetable of a version of the DAG, with the evaluated intervals if it is that version's."""
        known = self.evaluated
        if not schedules.is_evaluated(definition) or known is None or known.version != definition.version:
            return schedules.timetable(definition)
        if self._explicit is None or self._explicit[0] is not known:
            intervals = ExplicitSchedule(intervals=known.intervals, evaluated=True)
            self._explicit = (known, schedules.timetable(definition, intervals))
        return self._explicit[1]

    @property
    def runs(self) -> dict[str, Run]:
        """The live runs."""
        if self.asleep and self.wake is not None:
            self.wake(self)
        return self.awake

    @property
    def version(self) -> str:
        return self.updated.version

    @property
    def paused(self) -> bool:
        return self.updated.paused
