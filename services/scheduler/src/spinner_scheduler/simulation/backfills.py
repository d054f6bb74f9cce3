"""What must hold of backfills whatever happens, checked from the events alone."""

from __future__ import annotations

from spinner_proto.events.v1.events_pb2 import BackfillAction, BackfillInterval, WorkflowEvent, WorkflowEvents
from spinner_proto.inbox.v1.inbox_pb2 import CreateBackfill, RunOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.backfill import CANCELLED, DONE
from spinner_scheduler.domain.states import RUN_FAILED, RUN_RUNNING, RUN_SUCCESS
from spinner_scheduler.simulation.violations import require


class BackfillChecker:
    """Each interval of a backfill is taken up once and has one run; never more runs at once than it may have."""

    def __init__(self) -> None:
        # What is known of each run, and of each backfill, by (DAG, id).
        self.runs: dict[tuple[str, str], tuple[int, str]] = {}
        self.states: dict[tuple[str, str], int] = {}
        self.requests: dict[tuple[str, str], CreateBackfill] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.taken: dict[tuple[str, str], list[BackfillInterval]] = {}
        self.ends: dict[tuple[str, str], int] = {}
        self.pools: dict[tuple[str, str], str] = {}

    def pool_of(self, dag_id: str, run_id: str) -> str:
        """The pool that a run's backfill puts its tasks into, "" for none."""
        return self.pools.get((dag_id, run_id), "")

    def event(self, record: WorkflowEvents, event: WorkflowEvent) -> None:
        kind = event.WhichOneof("kind")
        key = (record.dag_id, record.run_id)
        if kind in ("run_created", "run_backfill_changed"):
            self.pools[key] = getattr(event, kind).backfill.pool
        if kind == "run_created":
            created = event.run_created
            self.runs[key] = (times.from_timestamp(created.logical_date), created.backfill.backfill_id)
        elif kind == "run_backfill_changed":
            self.runs[key] = (self.runs[key][0], event.run_backfill_changed.backfill.backfill_id)
        elif kind == "run_state_changed":
            self.states[key] = event.run_state_changed.state
            self._cap(record.dag_id, self.runs[key][1])
        elif kind == "backfill_created":
            request = event.backfill_created.request
            self.requests[record.dag_id, request.backfill_id] = request
            self.counts[record.dag_id, request.backfill_id] = event.backfill_created.interval_count
            self.taken[record.dag_id, request.backfill_id] = []
        elif kind == "backfill_advanced":
            self.taken[record.dag_id, event.backfill_advanced.backfill_id].extend(event.backfill_advanced.intervals)
        elif kind == "backfill_state_changed":
            changed = event.backfill_state_changed
            before = self.ends.get((record.dag_id, changed.backfill_id), 0)
            require(before not in (CANCELLED, DONE), "a_backfill_ends_once", f"{key[0]}/{changed.backfill_id}")
            self.ends[record.dag_id, changed.backfill_id] = changed.state

    def _cap(self, dag_id: str, backfill_id: str) -> None:
        request = self.requests.get((dag_id, backfill_id))
        if request is not None:
            active = sum(
                1
                for key, (_, member) in self.runs.items()
                if key[0] == dag_id and member == backfill_id and self.states.get(key) == RUN_RUNNING
            )
            require(
                active <= request.max_active_runs,
                "limits_hold",
                f"backfill {dag_id}/{backfill_id} has {active} runs of {request.max_active_runs}",
            )

    def dates_of(self, dag_id: str) -> set[int]:
        """Logical dates of the DAG's runs."""
        return {logical for (name, _), (logical, _) in self.runs.items() if name == dag_id}

    def ended_runs(self, dag_id: str) -> list[tuple[int, int]]:
        """Logical date and state of the DAG's runs that have ended, as the views know them."""
        return [
            (self.runs[key][0], state)
            for key, state in self.states.items()
            if key[0] == dag_id and state in (RUN_SUCCESS, RUN_FAILED)
        ]

    def finish(self, blocked: set[str]) -> None:
        for key, intervals in self.taken.items():
            dates = [times.from_timestamp(interval.logical_date) for interval in intervals]
            backward = self.requests[key].run_order == RunOrder.RUN_ORDER_BACKWARD
            require(
                dates == sorted(set(dates), reverse=backward), "backfills_take_each_interval_once", f"{key} {dates}"
            )
            for interval, date in zip(intervals, dates, strict=True):
                if interval.action == BackfillAction.BACKFILL_ACTION_SKIP:
                    continue
                require(
                    (key[0], interval.run_id) in self.runs,
                    "backfills_take_each_interval_once",
                    f"{key} has no run {interval.run_id}",
                )
                same = [run for run, (logical, _) in self.runs.items() if run[0] == key[0] and logical == date]
                others = [run for run in same if not run[1].startswith(f"backfill__{times.text(date)}~")]
                require(len(others) <= 1, "one_run_per_interval", str(others))
            if key[0] not in blocked and self.ends.get(key) != CANCELLED:
                require(self.ends.get(key) == DONE, "every_backfill_ends", f"{key} is {self.ends.get(key)}")
                require(
                    len(dates) == self.counts[key],
                    "backfills_take_each_interval_once",
                    f"{key} took {len(dates)} of {self.counts[key]}",
                )
