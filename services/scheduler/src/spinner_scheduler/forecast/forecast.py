"""The virtual time: timers of the core and ends of workers, one after the other."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

from spinner_proto.common.v1.common_pb2 import Outcome, RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvent, WorkflowEvents
from spinner_proto.inbox.v1.inbox_pb2 import (
    Command,
    DefinitionPublished,
    InboxMessage,
    PoolMessage,
    TaskReport,
    TimetableEvaluated,
)
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder
from spinner_proto.scheduler.v1.scheduler_pb2 import SimulatedRun, SimulateRequest, SimulateResponse

from spinner_scheduler.domain import schedules, times
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.evolve import evolve
from spinner_scheduler.domain.layout import BACKFILL_POOL, DEFAULT_POOL, Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import QUEUED, RUN_FAILED, RUN_QUEUED, RUN_RUNNING, RUN_SUCCESS, SCHEDULED
from spinner_scheduler.forecast.waits import Limit, Waits, limit_of_task

_DAY = 86_400 * times.SECOND
_SLOTS_FOR_ALL = 1_000_000
_BATCH = 500


class ImpossibleError(Exception):
    """The request can't be simulated; says why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a simulation stops by itself."""

    events: int = 5_000_000
    seconds: float = 100.0
    runs: int = 1_000
    limits: int = 100


def synthetic(count: int, start: int) -> Iterable[DagDefinition]:
    """Daily DAGs of two tasks, the first due at `start` (µs), the others spread over the day after it."""
    for number in range(count):
        dag = DagDefinition(dag_id=f"synthetic_{number:06d}", version="v1")
        dag.schedule.delta.period.FromSeconds(86_400)
        dag.start_date.CopyFrom(times.to_timestamp(start - _DAY + number * 1440 // count * 60 * times.SECOND))
        dag.tasks.add(task_id="first")
        dag.tasks.add(task_id="second", upstream=[0])
        yield dag


class Forecast:
    """One simulation. `limits`: those of the installation, for what a definition leaves open."""

    def __init__(self, request: SimulateRequest, limits: Limits, bounds: Bounds | None = None) -> None:
        self._request = request
        self._bounds = bounds or Bounds()
        self._durations = {name: times.from_duration(value) for name, value in request.durations.items()}
        self._duration = times.from_duration(request.duration) if request.HasField("duration") else 60 * times.SECOND
        self._definitions: dict[tuple[str, str], DagDefinition] = {}
        self._now = times.from_timestamp(request.start) or time.time_ns() // 1000
        self._answer = SimulateResponse(start=times.to_timestamp(self._now))
        self._state = PartitionState(
            Layouts(lambda dag_id, version: self._definitions.get((dag_id, version))),
            Address("simulated", 0),
            limits=limits,
        )
        # Pools live in one partition here, so the owner is this one whatever their names are.
        self._state.pool_owner = lambda pool: self._state.here  # type: ignore[method-assign]
        self._ends: list[tuple[int, int, TaskOrder]] = []
        self._number = itertools.count()
        self._orders: dict[str, TaskOrder] = {}
        self._waits = Waits()
        self._running = 0
        # When the next run of each DAG is due, as planned first.
        self._planned: dict[str, int] = {}
        self._runs: dict[tuple[str, str], SimulatedRun] = {}
        self._until = self._now + self._period()
        # DAGs whose custom timetable is known for a part of the period.
        self._known_until: dict[str, int] = {}

    def _period(self) -> int:
        if self._request.HasField("period"):
            return times.from_duration(self._request.period)
        if self._request.HasField("backfill"):
            return 3650 * _DAY
        return _DAY if self._request.synthetic_dags else 30 * _DAY

    def run(self) -> SimulateResponse:
        """Blocks until the period or a bound is reached. Raises ImpossibleError."""
        began = time.monotonic()
        self._begin()
        stopped = ""
        while not stopped:
            upcoming = self._next()
            if not upcoming or upcoming > self._until:
                break
            self._now = max(self._now, upcoming)
            self._take(self._due_reports())
            if self._answer.event_count > self._bounds.events:
                stopped = f"it reached {self._bounds.events:,} events"
            elif time.monotonic() - began > self._bounds.seconds:
                stopped = f"it took longer than {self._bounds.seconds:.0f} s"
        self._waits.close(self._now)
        answer = self._answer
        backfilled = self._request.HasField("backfill") and not self._request.HasField("period")
        answer.end.CopyFrom(times.to_timestamp(self._now if stopped or backfilled else self._until))
        for dag_id, last in sorted(self._known_until.items()):
            until = f"until {times.text(last)}" if last else "for no time at all"
            stopped = f"{stopped}; " * bool(stopped) + f"the custom timetable of {dag_id} is known {until}"
        answer.stopped = stopped
        most = self._request.max_runs or self._bounds.runs
        answer.runs.extend(
            sorted(self._runs.values(), key=lambda run: (run.due_time.ToMicroseconds(), run.dag_id))[:most]
        )
        answer.limits.extend(self._waits.rows(self._bounds.limits))
        answer.seconds = time.monotonic() - began
        return answer

    # -- the beginning -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        request = self._request
        dags = [*request.definitions, *synthetic(request.synthetic_dags, self._now)]
        if not dags:
            raise ImpossibleError("the request names no DAG: give dags, definitions or synthetic_dags")
        self._declare_pools(dags)
        published = []
        for given in dags:
            definition = DagDefinition()
            definition.CopyFrom(given)
            self._prepare(definition)
            self._definitions[(definition.dag_id, definition.version)] = definition
            self._forget_the_past(definition)
            message = DefinitionPublished(dag_id=definition.dag_id, version=definition.version)
            published.append(InboxMessage(definition_published=message))
            if schedules.is_evaluated(definition):
                published.append(InboxMessage(timetable_evaluated=self._evaluated(definition)))
        for start in range(0, len(published), _BATCH):
            self._take(published[start : start + _BATCH])
        if request.HasField("backfill"):
            command = Command(dag_id=dags[0].dag_id, create_backfill=request.backfill)
            command.create_backfill.backfill_id = command.create_backfill.backfill_id or "simulated"
            command.create_backfill.max_active_runs = command.create_backfill.max_active_runs or 1
            command.actor.name = "simulation"
            command.time.CopyFrom(times.to_timestamp(self._now))
            self._take([InboxMessage(command=command)])

    def _evaluated(self, definition: DagDefinition) -> TimetableEvaluated:
        """What is known of a custom timetable, whatever it begins after: nobody is there to tell more."""
        explicit = schedules.explicit_of(definition)
        told = TimetableEvaluated(
            dag_id=definition.dag_id, version=definition.version, intervals=explicit.intervals, complete=True
        )
        dag = self._state.dags.get(definition.dag_id)
        if dag is not None and dag.updated.HasField("last_scheduled_interval_end"):
            told.after_start.CopyFrom(dag.updated.last_scheduled_logical_date)
            told.after_end.CopyFrom(dag.updated.last_scheduled_interval_end)
        last = max((times.from_timestamp(item.run_after) for item in explicit.intervals), default=0)
        if not explicit.complete and last < self._until:
            self._known_until[definition.dag_id] = last
        return told

    def _prepare(self, definition: DagDefinition) -> None:
        definition.version = definition.version or "simulated"
        definition.paused_upon_creation = False

    def _forget_the_past(self, definition: DagDefinition) -> None:
        """What is due already is taken for done."""
        latest = DagDefinition()
        latest.CopyFrom(definition)
        latest.catchup = False
        try:
            tick, _ = schedules.timetable(latest).next(None, self._now)
        except ValueError as error:
            raise ImpossibleError(f"the schedule of {definition.dag_id} can't be read: {error}") from error
        past = tick is not None and tick.run_after <= self._now
        if self._request.HasField("backfill"):
            # Only the backfill runs: no interval after the latest one.
            definition.end_date.CopyFrom(times.to_timestamp(tick.logical if tick and past else self._now - 1))
        if tick is None or not past:
            return
        event = WorkflowEvent()
        event.dag_updated.last_scheduled_logical_date.CopyFrom(times.to_timestamp(tick.logical))
        event.dag_updated.last_scheduled_interval_end.CopyFrom(times.to_timestamp(tick.end or tick.logical))
        evolve(self._state, definition.dag_id, "", event)

    def _declare_pools(self, dags: list[DagDefinition]) -> None:
        slots = dict.fromkeys(
            {task.pool for dag in dags for task in dag.tasks if task.pool} - {DEFAULT_POOL, BACKFILL_POOL},
            _SLOTS_FOR_ALL,
        )
        slots.update(self._request.pools)
        messages = []
        for name, count in sorted(slots.items()):
            message = InboxMessage(pool=PoolMessage(pool=name))
            message.pool.changed.slots = count
            messages.append(message)
        self._take(messages)

    # -- going on --------------------------------------------------------------------------------------------------

    def _next(self) -> int:
        """When something happens next, 0 for never."""
        if self._state.unsettled:
            return self._now
        dues = [due for due in (self._state.timers.next_due(), self._ends[0][0] if self._ends else 0) if due]
        return min(dues, default=0)

    def _due_reports(self) -> list[InboxMessage]:
        found: list[InboxMessage] = []
        while self._ends and self._ends[0][0] <= self._now and len(found) < _BATCH:
            _, _, order = heapq.heappop(self._ends)
            found.append(InboxMessage(task_report=self._end(order)))
        return found

    def _end(self, order: TaskOrder) -> TaskReport:
        report = TaskReport(try_key=order.try_key, segment=order.segment, sequence=3)
        report.time.CopyFrom(times.to_timestamp(self._now))
        if order.kind == OrderKind.ORDER_KIND_LAYOUT:
            report.layout_computed.version = self._layout_of(order)
            return report
        killed = order.desired_state == DesiredState.DESIRED_STATE_CANCELLED
        report.ended.outcome = Outcome.OUTCOME_KILLED_BY_USER if killed else Outcome.OUTCOME_SUCCESS
        report.ended.return_length = (self._request.map_length or 3) if order.reports_length else -1
        report.ended.start_time.CopyFrom(times.to_timestamp(self._now - self._duration_of(order)))
        report.ended.end_time.CopyFrom(times.to_timestamp(self._now))
        return report

    def _layout_of(self, order: TaskOrder) -> str:
        """A dynamic DAG gets the layout that its definition shows."""
        version = f"{order.version}-layout"
        layout = DagDefinition()
        layout.CopyFrom(self._definitions[(order.try_key.dag_id, order.version)])
        layout.dynamic, layout.version = False, version
        self._definitions[(order.try_key.dag_id, version)] = layout
        return version

    def _duration_of(self, order: TaskOrder) -> int:
        return self._durations.get(f"{order.try_key.dag_id}/{order.try_key.task_id}", self._duration)

    def _take(self, messages: list[InboxMessage]) -> None:
        result = decide(self._state, messages, self._now)
        for record in result.records:
            self._answer.event_count += len(record.events)
            self._watch(record)
        for key, order in result.orders.items():
            self._follow(key, order)
        for _, _, message in result.messages:
            if message.WhichOneof("kind") in ("pool", "asset", "asset_updated"):
                self._take([message])

    def _follow(self, key: str, order: TaskOrder | None) -> None:
        if order is not None and order.kind == OrderKind.ORDER_KIND_WATCHER:
            return  # what it will see nobody knows
        before = self._orders.pop(key, None)
        if order is None:
            self._running -= before is not None and before.kind == OrderKind.ORDER_KIND_TASK
            return
        if before is None and order.kind == OrderKind.ORDER_KIND_TASK:
            self._running += 1
            if self._running > self._answer.peak_running_tasks:
                self._answer.peak_running_tasks = self._running
                self._answer.peak_time.CopyFrom(times.to_timestamp(self._now))
        self._orders[key] = order
        takes = self._duration_of(order) if order.kind == OrderKind.ORDER_KIND_TASK else times.SECOND
        if order.desired_state == DesiredState.DESIRED_STATE_CANCELLED:
            takes = times.SECOND
        heapq.heappush(self._ends, (self._now + takes, next(self._number), order))

    # -- what is told --------------------------------------------------------------------------------------------------

    def _watch(self, record: WorkflowEvents) -> None:
        for event in record.events:
            kind = event.WhichOneof("kind")
            if kind == "command_rejected":
                raise ImpossibleError(event.command_rejected.message)
            if kind == "run_created":
                self._created(record, event)
            elif kind == "dag_updated" and event.dag_updated.HasField("next_run_time"):
                self._planned.setdefault(record.dag_id, times.from_timestamp(event.dag_updated.next_run_time))
            elif kind == "run_state_changed":
                self._run_changed(record, event.run_state_changed.state)
            elif kind == "task_ended":
                self._answer.task_count += 1
            elif kind == "task_state_changed":
                changed = event.task_state_changed
                key = (record.dag_id, record.run_id, changed.task_id, str(changed.map_index))
                if changed.state == SCHEDULED:
                    self._waits_for(key, changed.map_index)
                elif changed.state == QUEUED:
                    self._waits.end(key, self._now)

    def _created(self, record: WorkflowEvents, event: WorkflowEvent) -> None:
        self._answer.run_count += 1
        if event.run_created.run_type == RunType.RUN_TYPE_SCHEDULED:
            due = self._planned.pop(record.dag_id, self._now)
            if due < self._now:
                # No run was made when it was due, because there was no room. Without catch-up this is a later one.
                self._waits.add(*self._limit_of_runs(record.dag_id), due, self._now)
        if len(self._runs) >= (self._request.max_runs or self._bounds.runs):
            return
        created = event.run_created
        self._runs[(record.dag_id, record.run_id)] = SimulatedRun(
            dag_id=record.dag_id,
            run_id=record.run_id,
            logical_date=created.logical_date,
            due_time=created.run_after,
            task_count=created.task_count,
            partition_key=created.partition_key,
        )

    def _run_changed(self, record: WorkflowEvents, new: int) -> None:
        key = (record.dag_id, record.run_id)
        run = self._runs.get(key)
        self._answer.failed_run_count += new == RUN_FAILED
        if run is not None:
            run.state = new  # type: ignore[assignment]
        if new == RUN_QUEUED:
            self._waits.begin(key, *self._limit_of_runs(record.dag_id), self._now)
        elif new == RUN_RUNNING:
            self._waits.end(key, self._now)
            if run is not None and not run.HasField("start_time"):
                run.start_time.CopyFrom(times.to_timestamp(self._now))
        elif new in (RUN_SUCCESS, RUN_FAILED) and run is not None:
            run.end_time.CopyFrom(times.to_timestamp(self._now))

    def _limit_of_runs(self, dag_id: str) -> tuple[Limit, int]:
        layout = self._state.layout_of(self._state.dags[dag_id])
        return ("max_active_runs", dag_id), self._state.max_active_runs(layout) if layout is not None else 0

    def _waits_for(self, key: tuple[str, str, str, str], map_index: int) -> None:
        dag = self._state.dags[key[0]]
        run = dag.runs.get(key[1])
        slot = run.slot(key[2], map_index) if run is not None else -1
        if run is not None and slot >= 0:
            limit, size = limit_of_task(self._state, dag, run, slot)
            self._waits.begin(key, limit, size, self._now)
