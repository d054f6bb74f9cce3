"""What schedulers tell that tasks ask for: states of the latest runs, answers to commands, DAGs that are gone.

A thread reads `workflow_events` from the time at which a task or trigger first asks. It keeps the latest MAX_RUNS runs,
and all that somebody watches. Who watches is told when an event changes what it watches, so waiting costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from spinner.runtime.api import run_state_name, task_state_name
from spinner_eventlog.interface import EventLog, Record
from spinner_proto.common.v1.common_pb2 import RunState, TaskState
from spinner_proto.events.v1.events_pb2 import WorkflowEvents

from spinner_executor.adapters.views import Follower
from spinner_executor.domain.clock import datetime_of

MAX_RUNS = 20_000
MAX_ANSWERS = 10_000
# What the actor of a task's command came by.
VIA = "task"
# Changes that come this close together are told as one.
_TELL_SECONDS = 0.1
_FORGET_STEPS = 64


@dataclass(slots=True)
class RunView:
    """A run as the events tell it."""

    run_id: str
    logical_date: datetime | None = None
    state: RunState.ValueType = RunState.RUN_STATE_QUEUED
    tasks: dict[tuple[str, int], TaskState.ValueType] = field(default_factory=dict)

    def states(self, task_ids: Sequence[str]) -> list[str]:
        """Names of the states of the tasks' instances, "none" for a task without any; of the run without task ids."""
        if not task_ids:
            return [run_state_name(self.state)]
        wanted, known = set(task_ids), {task_id for task_id, _ in self.tasks}
        states = [task_state_name(state) for (task_id, _), state in self.tasks.items() if task_id in wanted]
        return states + ["none" for task_id in task_ids if task_id not in known]


@dataclass(frozen=True, slots=True)
class RunQuery:
    """What somebody watches: a run by its id, or the latest with a logical date; tasks of it, or itself."""

    dag_id: str
    run_id: str = ""
    logical_date: datetime | None = None
    task_ids: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str | datetime | None]:
        """Where the view finds it."""
        return self.dag_id, self.run_id or self.logical_date


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scheduler said to a task's command. `code` is empty when it was accepted."""

    run_id: str = ""
    code: str = ""
    message: str = ""


Told = Callable[[list[str] | None], None]
Heard = Callable[[Answer], None]


@dataclass(slots=True, eq=False)
class _Watch:
    query: RunQuery
    told: Told
    latest: list[str] | None = None
    fresh: bool = True


class RunsView(Follower):
    """The latest MAX_RUNS runs of all cells of the cluster. Thread-safe."""

    def __init__(self, log: EventLog, cells: Sequence[str]) -> None:
        super().__init__("states of runs", log, [f"workflow_events-{cell}" for cell in cells])
        self._runs: OrderedDict[tuple[str, str], RunView] = OrderedDict()
        # Run ids in the order in which they were made, by DAG and logical date.
        self._dated: dict[tuple[str, datetime], list[str]] = {}
        self._starting = threading.Lock()
        self._watches: dict[tuple[str, str | datetime | None], set[_Watch]] = {}
        self._changed: set[_Watch] = set()
        self._told = 0.0
        self._removed: set[str] = set()
        # The latest answers to commands of tasks, and who waits for one, by request id.
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._listeners: dict[str, list[Heard]] = {}

    def begin(self) -> None:
        """Starts reading on first use."""
        with self._starting:
            if not self.is_alive():
                self.start()

    def ensure_started(self) -> None:
        """Starts reading on first use and blocks until caught up."""
        self.begin()
        self.wait_ready()

    def apply(self, record: Record) -> None:
        if record.value is None:
            return
        if "/" not in record.key:
            self._apply_to_dag(record.decode(WorkflowEvents))
            return
        step = record.decode(WorkflowEvents)
        key = (step.dag_id, step.run_id)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = RunView(step.run_id)
            self._forget_oldest()
        else:
            self._runs.move_to_end(key)
        for event in step.events:
            kind = event.WhichOneof("kind")
            if kind == "run_created":
                self._date(step.dag_id, run, datetime_of(event.run_created.logical_date))
            elif kind == "run_state_changed":
                run.state = event.run_state_changed.state
            elif kind == "task_state_changed":
                changed = event.task_state_changed
                run.tasks[changed.task_id, changed.map_index] = changed.state
            elif kind == "task_ended":
                ended = event.task_ended
                run.tasks[ended.task_id, ended.map_index] = ended.state
        if self._watches:
            self._changed |= self._watches.get(key, set())
            self._changed |= self._watches.get((step.dag_id, run.logical_date), set())

    def _apply_to_dag(self, step: WorkflowEvents) -> None:
        for event in step.events:
            kind = event.WhichOneof("kind")
            if kind == "dag_removed":
                self._removed.add(step.dag_id)
            elif kind == "dag_updated":
                self._removed.discard(step.dag_id)
            elif kind == "command_accepted" and event.command_accepted.actor.via == VIA:
                self._hear(event.command_accepted.request_id, Answer(event.command_accepted.run_id))
            elif kind == "command_rejected" and event.command_rejected.actor.via == VIA:
                told = event.command_rejected
                self._hear(told.request_id, Answer(code=told.code, message=told.message))

    def _hear(self, request_id: str, answer: Answer) -> None:
        self._answers[request_id] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        for heard in self._listeners.pop(request_id, ()):
            heard(answer)

    def listen(self, request_id: str, heard: Heard) -> Callable[[], None]:
        """Calls `heard` once with the answer to a task's command, in this or the view's thread.

        Returns what ends it. Does not block.
        """
        with self.lock:
            answer = self._answers.get(request_id)
            if answer is None:
                self._listeners.setdefault(request_id, []).append(heard)
        self.begin()
        if answer is not None:
            heard(answer)

        def ignore() -> None:
            with self.lock:
                others = self._listeners.get(request_id, [])
                if heard in others:
                    others.remove(heard)
                if not others:
                    self._listeners.pop(request_id, None)

        return ignore

    def removed(self, dag_id: str) -> bool:
        """Whether a DAG's file is gone."""
        with self.lock:
            return dag_id in self._removed

    def _date(self, dag_id: str, run: RunView, date: datetime | None) -> None:
        run.logical_date = date
        if date is not None:
            dated = self._dated.setdefault((dag_id, date), [])
            if run.run_id not in dated:
                dated.append(run.run_id)

    def _forget_oldest(self) -> None:
        for _ in range(_FORGET_STEPS):
            if len(self._runs) <= MAX_RUNS + len(self._watches):
                return
            key, run = self._runs.popitem(last=False)
            dag_id, date = key[0], run.logical_date
            if key in self._watches or (dag_id, date) in self._watches:
                self._runs[key] = run
            elif date is not None and run.run_id in (dated := self._dated.get((dag_id, date), [])):
                dated.remove(run.run_id)
                if not dated:
                    del self._dated[dag_id, date]

    def applied(self) -> None:
        now = time.monotonic()
        if not self._changed or not self.ready.is_set() or now - self._told < _TELL_SECONDS:
            return
        self._told = now
        changed, self._changed = self._changed, set()
        for watch in changed:
            run = self._find(watch.query)
            states = None if run is None else run.states(watch.query.task_ids)
            if watch.fresh or states != watch.latest:
                watch.latest, watch.fresh = states, False
                watch.told(states)

    def watch(self, query: RunQuery, told: Told) -> Callable[[], None]:
        """Calls `told` with the states (None: no such run) soon, and whenever they have changed; in the view's thread.

        Returns what ends it. Does not block.
        """
        watch = _Watch(query, told)
        with self.lock:
            self._watches.setdefault(query.place, set()).add(watch)
            self._changed.add(watch)
        self.begin()

        def unwatch() -> None:
            with self.lock:
                self._changed.discard(watch)
                others = self._watches.get(query.place)
                if others is not None:
                    others.discard(watch)
                    if not others:
                        del self._watches[query.place]

        return unwatch

    def run_state(self, dag_id: str, run_id: str) -> RunState.ValueType | None:
        with self.lock:
            run = self._runs.get((dag_id, run_id))
            return None if run is None else run.state

    def _find(self, query: RunQuery) -> RunView | None:
        run_id = query.run_id
        if not run_id and query.logical_date is not None:
            dated = self._dated.get((query.dag_id, query.logical_date))
            run_id = dated[-1] if dated else ""
        return self._runs.get((query.dag_id, run_id))

    def find(self, dag_id: str, run_id: str, logical_date: datetime | None) -> RunView | None:
        """A copy of the run with this id, or the latest with this logical date."""
        with self.lock:
            found = self._find(RunQuery(dag_id, run_id, logical_date))
            return None if found is None else RunView(found.run_id, found.logical_date, found.state, dict(found.tasks))

    def earlier(self, dag_id: str, before: datetime | None, limit: int = 200) -> list[str]:
        """Run ids of a DAG with a logical date before `before`, latest first."""
        with self.lock:
            dated = [
                (run.logical_date, run.run_id)
                for (dag, _), run in self._runs.items()
                if dag == dag_id and run.logical_date is not None and (before is None or run.logical_date < before)
            ]
        return [run_id for _, run_id in sorted(dated, reverse=True)[:limit]]
