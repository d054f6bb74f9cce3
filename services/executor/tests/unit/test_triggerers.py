"""Whose fault the end of a triggerer process is, what its ledger says, and what the executor tells of other runs."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

import pytest
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_executor.adapters import runs as runs_module
from spinner_executor.adapters.runs import RunQuery, RunsView
from spinner_executor.adapters.triggerer.ledger import Ledger, Step, new_descriptor
from spinner_executor.domain.triggerers import (
    BLOCKED_LOOKS,
    HALVING_SECONDS,
    OUT_OF_MEMORY_STATUS,
    Death,
    Fault,
    Looks,
    blame,
    to_be_halved,
)
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.events.v1.events_pb2 import WorkflowEvents

LIMIT = 400 << 20
BIG = 300 << 20


def death(status: int, stepping: str | None = None, grown: int = 0, fault: Fault | None = None, culprit: str = ""):
    return Death(status, stepping, "grower", grown, fault, culprit or None)


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (death(3, "a"), ("a", Fault.ENDED)),
        (death(-signal.SIGSEGV, "a"), ("a", Fault.ENDED)),
        (death(-signal.SIGKILL, "a"), None),  # somebody killed it, whoever had the loop
        (death(-signal.SIGTERM, "a"), None),
        (death(3), None),  # nobody was in a step
        (death(-signal.SIGKILL, "a", BIG), ("grower", Fault.MEMORY)),  # the kernel, out of memory
        (death(-signal.SIGKILL, "a", BIG, Fault.MEMORY), ("grower", Fault.MEMORY)),
        (death(-signal.SIGKILL, "a", 1 << 20, Fault.MEMORY), None),  # many took a little
        (death(OUT_OF_MEMORY_STATUS, "a", BIG), ("grower", Fault.MEMORY)),
        (death(OUT_OF_MEMORY_STATUS, "a", 1 << 20), ("a", Fault.ENDED)),  # it asked for too much at once
        (death(-signal.SIGKILL, "b", BIG, Fault.BLOCKED, "b"), ("b", Fault.BLOCKED)),
    ],
)
def test_blame(what: Death, found: tuple[str, Fault] | None) -> None:
    blamed = blame(what, LIMIT)
    assert (None if blamed is None else (blamed.identity, blamed.fault)) == found


def test_triggers_are_halved_after_deaths_in_a_short_time_only() -> None:
    assert to_be_halved([0.0, 10.0, 20.0], 20.0, 2)
    assert not to_be_halved([0.0, 10.0, 20.0], 20.0, 1)
    assert not to_be_halved([0.0, 10.0, 11.0 + HALVING_SECONDS], 11.0 + HALVING_SECONDS, 2)


def test_only_a_step_that_goes_on_over_several_looks_blocks() -> None:
    looks = Looks()
    assert not looks.blocked(1, 7, 0.0)
    assert not looks.blocked(1, 7, 1000.0)  # the executor was away: one look proves nothing
    assert [looks.blocked(1, 7, 1000.0 + n / 2) for n in range(1, BLOCKED_LOOKS)][-1]
    assert not looks.blocked(2, 7, 1100.0)  # another step of the same trigger
    assert not any(looks.blocked(3, None, 1200.0 + n) for n in range(20))


def test_a_ledger_is_read_by_another_process() -> None:
    descriptor = new_descriptor()
    writer, reader = Ledger(descriptor), Ledger(descriptor)
    os.close(descriptor)
    assert reader.step() == Step(0, None)
    writer.begin(5)
    assert reader.step() == Step(1, 5)
    writer.end(5, 4096)
    writer.begin(0)
    writer.end(0, 1000)
    assert reader.step() == Step(2, None)
    assert reader.largest_growth() == (5, 4096)
    writer.clear(5)
    assert reader.largest_growth() == (0, 1000)


class Runs:
    """A view whose records come one by one."""

    def __init__(self) -> None:
        log = MemoryLog()
        log.create_topic("workflow_events-c")
        self._log, self._producer = log, log.producer("scheduler")
        self.view = RunsView(log, ["c"])
        self.view.begin = lambda: None  # type: ignore[method-assign] - no thread: the test reads
        self.view.ready.set()
        self._reader = log.reader([("workflow_events-c", 0)])
        self.told: list[list[str] | None] = []

    def event(self, run_id: str, date: datetime | None = None, task: str = "", run: str = "") -> None:
        step = WorkflowEvents(dag_id="other", run_id=run_id)
        if date is not None:
            step.events.add().run_created.logical_date.FromDatetime(date)
        if task:
            changed = step.events.add().task_state_changed
            changed.task_id, changed.map_index, changed.state = "x", -1, c.TaskState.Value(f"TASK_STATE_{task}")
        if run:
            step.events.add().run_state_changed.state = c.RunState.Value(f"RUN_STATE_{run}")
        self._producer.send(Outgoing("workflow_events-c", f"other/{run_id}", step, 0))

    def read(self) -> list[list[str] | None]:
        """What is told after one batch."""
        for record in self._reader.poll(100, 0.0):
            self.view.apply(record)
        self.view._told = -1.0
        self.view.applied()
        told = list(self.told)
        self.told.clear()
        return told


DAY = datetime(2026, 3, 1, tzinfo=UTC)


def test_who_watches_is_told_at_once_and_of_changes_only() -> None:
    runs = Runs()
    unwatch = runs.view.watch(RunQuery("other", "", DAY, ("x",)), runs.told.append)
    assert runs.read() == [None]
    runs.event("elsewhere", DAY.replace(day=2), task="RUNNING")
    assert runs.read() == []
    runs.event("r1", DAY)
    assert runs.read() == [["none"]]
    runs.event("r1", task="QUEUED")
    runs.event("r1", task="RUNNING")
    assert runs.read() == [["running"]]  # the latest of a batch
    runs.event("r1", run="RUNNING")
    assert runs.read() == []  # the task's state is the same
    runs.event("r2", DAY, task="SUCCESS")  # a later run of the same date
    assert runs.read() == [["success"]]
    unwatch()
    runs.event("r2", task="FAILED")
    assert runs.read() == []


def test_a_watched_run_is_kept_when_others_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "MAX_RUNS", 5)
    runs = Runs()
    runs.event("kept", DAY, run="RUNNING")
    runs.event("gone", DAY.replace(day=2), run="RUNNING")
    runs.read()
    runs.view.watch(RunQuery("other", "kept"), runs.told.append)
    for n in range(20):
        runs.event(f"r{n}", DAY.replace(day=3 + n), run="RUNNING")
    assert runs.read() == [["running"]]
    assert runs.view.find("other", "gone", None) is None
    assert runs.view.find("other", "", DAY.replace(day=2)) is None
    assert len(runs.view._runs) == 6
    runs.event("kept", run="SUCCESS")
    assert runs.read() == [["success"]]
