"""What must hold whatever happens, checked from the log alone, beside two checks of memory against the log."""

from __future__ import annotations

from collections import Counter
from typing import Any

from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import BackfillAction, BackfillInterval, WorkflowEvent, WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import CreateBackfill, RunOrder

from spinner_scheduler.domain import schedules, snapshots, times
from spinner_scheduler.domain.backfill import CANCELLED, DONE
from spinner_scheduler.domain.run import LAYOUT_TASK, Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import FINISHED, REMOVED, RUN_FAILED, RUN_RUNNING, RUN_SUCCESS, UP_FOR_RETRY


class ViolatedError(Exception):
    """An invariant does not hold; the text begins with its name."""


def require(holds: bool, text: str) -> None:
    if not holds:
        raise ViolatedError(text)


# -- memory --------------------------------------------------------------------------------------------------------


def dump(state: PartitionState) -> dict[str, Any]:
    """All of a state that decisions depend on, comparable."""
    return {
        "dags": {dag_id: _dump_dag(state, dag_id) for dag_id in sorted(state.dags)},
        "pools": {
            name: (pool.slots, pool.used, pool.granted, sorted((k, r.granted) for k, r in pool.requests.items()))
            for name, pool in sorted(state.pools.items())
            if pool.owned and (pool.used or pool.granted or pool.requests or pool.slots >= 0)
        },
        "request_ids": sorted(state.request_ids),
        "live_runs": state.live_runs,
    }


def _dump_dag(state: PartitionState, dag_id: str) -> dict[str, Any]:
    dag = state.dags[dag_id]
    finished = {run_id: snapshots.decode_run(kept, state.layouts) for run_id, kept in dag.finished.items()}
    return {
        "updated": str(dag.updated),
        "removed": dag.removed,
        "runs": {run_id: _dump_run(run) for run_id, run in sorted(dag.runs.items())},
        "wanted": {run_id: sorted(run.wanted) for run_id, run in sorted(dag.runs.items())},
        "finished": {run_id: _dump_run(run) for run_id, run in sorted(finished.items())},
        "by_date": dag.by_date,
        "successes": dag.successes,
        "evaluated": str(dag.evaluated),
        "active": dag.active,
        "queued": dag.queued,
        "backfills": {name: backfill.dump() for name, backfill in sorted(dag.backfills.items())},
        "backfill_runs": {name: list(found) for name, found in sorted(dag.backfill_runs.items()) if any(found)},
        "taken": dag.taken,
        "held": {task_id: held for task_id, held in sorted(dag.held_by_task.items()) if held},
    }


def _dump_run(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {"version": run.layout.version}
    for name in Run.__slots__:
        if name in ("layout", "dirty", "wanted", "parked", "order_facts"):
            continue
        value = getattr(run, name)
        if name in ("skip_by", "task_holding", "skips"):
            value = {key: sorted(item) if name != "task_holding" else item for key, item in value.items() if item}
        elif name == "deferrals":
            value = {key: str(item) for key, item in value.items()}
        elif name == "facts":
            value = str(value)
        elif name == "counts":
            value = value[1:]
        found[name] = value
    return found


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two dumps differ, for people."""
    if isinstance(left, dict) and isinstance(right, dict):
        found: list[str] = []
        for key in sorted(set(left) | set(right), key=str):
            found += differences(left.get(key), right.get(key), f"{path}/{key}")
        return found
    return [] if left == right else [f"{path}: {str(left)[:200]} ≠ {str(right)[:200]}"]


# -- the log -------------------------------------------------------------------------------------------------------


class Checker:
    """Reads the events of all partitions, record by record in the order they were committed."""

    def __init__(self) -> None:
        self.backfills = BackfillChecker()
        self.scheduled: Counter[tuple[str, int]] = Counter()
        self.states: dict[tuple[str, str, str, int], int] = {}
        self.tries: set[tuple[str, str, str, int, int]] = set()
        self.recorded: Counter[tuple[str, str, str, int, int]] = Counter()

    def events(self, record: WorkflowEvents) -> None:
        for event in record.events:
            kind = event.WhichOneof("kind")
            self.backfills.event(record, event)
            if kind == "run_created" and event.run_created.run_type == RunType.RUN_TYPE_SCHEDULED:
                logical = times.from_timestamp(event.run_created.logical_date)
                self.scheduled[(record.dag_id, logical)] += 1
                require(
                    self.scheduled[(record.dag_id, logical)] == 1,
                    f"every due interval has one run: {record.dag_id} has two for {times.text(logical)}",
                )
            elif kind == "task_state_changed":
                changed = event.task_state_changed
                self._state(record, changed.task_id, changed.map_index, changed.state, changed.marked)
            elif kind == "task_ended":
                ended = event.task_ended
                if ended.task_id == LAYOUT_TASK:
                    continue
                self._state(record, ended.task_id, ended.map_index, ended.state, False)
                key = (record.dag_id, record.run_id, ended.task_id, ended.map_index, ended.try_number)
                require(key not in self.tries, f"a try ends once: {key}")
                self.tries.add(key)
            elif kind == "task_cleared":
                cleared = event.task_cleared
                self.states[(record.dag_id, record.run_id, cleared.task_id, cleared.map_index)] = 1

    def _state(self, record: WorkflowEvents, task_id: str, map_index: int, new: int, marked: bool) -> None:
        key = (record.dag_id, record.run_id, task_id, map_index)
        before = self.states.get(key, 1)
        if FINISHED[before] and before != new and new != REMOVED:
            require(marked, f"a finished task stays finished: {key} went from {before} to {new}")
        self.states[key] = new

    def execution(self, record: JobExecutionRecord) -> None:
        key = (record.workflow_name, record.instance_id, record.job_name, record.map_index, record.try_number)
        self.recorded[key] += 1
        require(self.recorded[key] == 1, f"a finished try has one execution record: {key}")

    def finish(self) -> None:
        missing = self.tries - set(self.recorded)
        extra = set(self.recorded) - self.tries
        require(not missing and not extra, f"a finished try has one execution record: {missing or extra}")


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

    def event(self, record: WorkflowEvents, event: WorkflowEvent) -> None:
        kind = event.WhichOneof("kind")
        key = (record.dag_id, record.run_id)
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
            require(before not in (CANCELLED, DONE), f"a backfill ends once: {changed.backfill_id}")
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
                f"backfill cap: {dag_id}/{backfill_id} has {active} runs of {request.max_active_runs}",
            )

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
                dates == sorted(set(dates), reverse=backward),
                f"each interval is taken up once, in order: {key} {dates}",
            )
            for interval, date in zip(intervals, dates, strict=True):
                if interval.action == BackfillAction.BACKFILL_ACTION_SKIP:
                    continue
                require((key[0], interval.run_id) in self.runs, f"each interval has its run: {key} {interval.run_id}")
                same = [run for run, (logical, _) in self.runs.items() if run[0] == key[0] and logical == date]
                others = [run for run in same if not run[1].startswith(f"backfill__{times.text(date)}~")]
                require(len(others) <= 1, f"an interval has one run: {others}")
            if key[0] not in blocked and self.ends.get(key) != CANCELLED:
                require(self.ends.get(key) == DONE, f"every backfill ends: {key} is {self.ends.get(key)}")
                require(len(dates) == self.counts[key], f"no interval is lost: {key} has {len(dates)}")


def check_limits(states: list[PartitionState], pools: dict[str, int]) -> None:
    """Limits hold over all partitions together, at any moment."""
    used: Counter[str] = Counter()
    for state in states:
        for dag in state.dags.values():
            for run in dag.runs.values():
                for slot in run.live_slots():
                    if run.states[slot] in (3, 4, 13):
                        position = run.position(slot)
                        used[run.pools[position]] += run.layout.pool_slots[position]
                most = state.max_active_tasks(run.layout)
                require(run.holding <= most, f"limits hold: {run.dag_id}/{run.run_id} runs {run.holding} of {most}")
                for position, (per_dag, per_run) in run.layout.limits.items():
                    held = run.task_holding.get(position, 0)
                    require(not per_run or held <= per_run, f"limits hold: {run.layout.task_ids[position]} {held}")
                    in_dag = dag.held_by_task.get(run.layout.task_ids[position], 0)
                    require(not per_dag or in_dag <= per_dag, f"limits hold: {run.layout.task_ids[position]} {in_dag}")
    for name, slots in pools.items():
        require(used[name] <= slots, f"limits hold: pool {name} has {used[name]} of {slots} slots in use")


def check_complete(definition: DagDefinition, scheduled: set[int], now: int, blocked: bool) -> None:
    """With catch-up, each interval that is due has its run."""
    if not definition.catchup or blocked:
        return
    timetable = schedules.timetable(definition)
    last: schedules.Tick | None = None
    while True:
        tick, _ = timetable.next(last, now)
        if tick is None or tick.run_after > now:
            return
        require(
            tick.logical in scheduled,
            f"every due interval has one run: {definition.dag_id} has none for {times.text(tick.logical)}",
        )
        last = schedules.Tick(tick.logical, tick.start, tick.end or tick.logical, tick.run_after)


def check_ended(state: PartitionState) -> None:
    """Nothing is left, except runs that wait for an earlier run's failed task."""
    for dag in state.dags.values():
        for run in dag.runs.values():
            if run.layout.has_past and not run.moving:
                continue
            if dag.queued and any(other.layout.has_past for other in dag.runs.values()):
                continue
            text = {run.position(slot): run.states[slot] for slot in run.live_slots() if not FINISHED[run.states[slot]]}
            require(False, f"every run ends: {run.dag_id}/{run.run_id} is {run.state}, tasks {text}")
        for run_id, kept in dag.finished.items():
            require(snapshots.summary(kept).state in (RUN_SUCCESS, RUN_FAILED), f"every run ends: {run_id}")


__all__ = ["UP_FOR_RETRY", "Checker", "ViolatedError", "check_complete", "check_ended", "check_limits", "dump"]
