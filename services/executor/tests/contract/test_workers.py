"""What every back end promises, with the real worker: tasks run once, end as they end, and leave nothing behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from places import Place
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

SECONDS = 120.0
DAG_FILE = """
import os, pathlib, signal, time
from datetime import datetime, timezone
from spinner import DAG
from spinner.operators.python import PythonOperator

FOLDER = pathlib.Path({folder!r})

def note(name):
    with (FOLDER / "began").open("a") as file:
        file.write(name + "\\n")

def quick(name):
    note(name)
    print("hello from", name)

def fails():
    raise ValueError("no such table")

def dies():
    note("dies")
    os.kill(os.getpid(), signal.SIGKILL)

def exits():
    os._exit(0)

def waits(name):
    note(name)
    while not (FOLDER / "go").exists():
        time.sleep(0.02)

ACCESS = {{"team": {{"can_dag_read", "can_dag_edit"}}}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    PythonOperator(task_id="fails", python_callable=fails)
    PythonOperator(task_id="dies", python_callable=dies)
    PythonOperator(task_id="exits", python_callable=exits)
    for n in range(20):
        PythonOperator(task_id=f"quick{{n}}", python_callable=quick, op_args=[f"quick{{n}}"])
        PythonOperator(task_id=f"waits{{n}}", python_callable=waits, op_args=[f"waits{{n}}"])
"""


class Tasks:
    """Orders of the DAG above, and what its tasks noted."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._folder = stage.folder
        self._bundle = stage.bundle(dag=DAG_FILE.format(folder=str(stage.folder)))

    def order(self, task_id: str, try_number: int = 1) -> o.TaskOrder:
        return self._stage.order(task_id, self._bundle, "dag.py", try_number)

    def began(self) -> list[str]:
        path = self._folder / "began"
        return sorted(path.read_text().split()) if path.exists() else []

    def go(self) -> None:
        (self._folder / "go").touch()


@pytest.fixture
def tasks(stage: Stage) -> Tasks:
    return Tasks(stage)


def ended(stage: Stage, order: o.TaskOrder) -> c.Outcome:
    return stage.wait(order, seconds=SECONDS).ended.outcome


def nothing_left(place: Place) -> None:
    until(lambda: not place.left(), "nothing of any try is left", SECONDS)


def test_a_task_runs_and_its_end_log_and_stages_are_reported(stage: Stage, tasks: Tasks, place: Place) -> None:
    stage.executor()
    order = tasks.order("quick1")
    stage.write(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == c.OUTCOME_SUCCESS
    assert {c.STAGE_QUEUE, c.STAGE_LAUNCH, c.STAGE_TASK_EXEC, c.STAGE_LOG_UPLOAD} <= {s.stage for s in end.stages}
    assert b"hello from quick1" in stage.log_of(end)
    assert len(stage.of(order, "started")) == 1
    nothing_left(place)


@pytest.mark.parametrize(
    ("task_id", "outcome", "words"),
    [
        ("fails", c.OUTCOME_FAILED, "no such table"),
        ("dies", c.OUTCOME_CRASHED, "SIGKILL"),
        ("exits", c.OUTCOME_CRASHED, "status 0"),
    ],
)
def test_failures_are_told_apart(
    stage: Stage, tasks: Tasks, place: Place, task_id: str, outcome: c.Outcome, words: str
) -> None:
    stage.executor()
    order = tasks.order(task_id)
    stage.write(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == outcome
    assert words in end.message
    nothing_left(place)


def test_a_worker_killed_from_outside_is_a_crash(stage: Stage, tasks: Tasks, place: Place) -> None:
    stage.executor()
    order = tasks.order("waits1")
    stage.write(order)
    until(tasks.began, "it runs", SECONDS)
    place.kill(order)
    end = stage.wait(order, seconds=SECONDS).ended
    assert (end.outcome, end.exit_code) == (c.OUTCOME_CRASHED, 137)


def test_a_cancelled_task_is_stopped_and_reported_as_killed(stage: Stage, tasks: Tasks, place: Place) -> None:
    stage.executor()
    order = tasks.order("waits1")
    stage.write(order)
    until(tasks.began, "it runs", SECONDS)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert ended(stage, order) == c.OUTCOME_KILLED_BY_USER
    nothing_left(place)


def test_an_order_that_is_withdrawn_takes_its_worker_along(stage: Stage, tasks: Tasks, place: Place) -> None:
    stage.executor()
    order = tasks.order("waits1")
    stage.write(order)
    until(tasks.began, "it runs", SECONDS)
    stage.tombstone(order)
    nothing_left(place)


def test_a_try_may_be_ordered_again_after_it_was_recorded(stage: Stage, tasks: Tasks, place: Place) -> None:
    stage.executor()
    order = tasks.order("quick1")
    for times in (1, 2):
        stage.write(order)
        until(lambda times=times: len(stage.of(order, "ended")) == times, f"end {times}", SECONDS)
    assert [r.ended.outcome for r in stage.of(order, "ended")] == [c.OUTCOME_SUCCESS] * 2
    assert tasks.began() == ["quick1", "quick1"]
    nothing_left(place)


def test_workers_survive_a_kill_of_the_executor_and_are_adopted(stage: Stage, tasks: Tasks, place: Place) -> None:
    first = stage.executor()
    orders = [tasks.order(f"waits{n}") for n in range(5)]
    stage.write(*orders)
    until(lambda: len(tasks.began()) == 5, "all tasks run", SECONDS)
    first.kill()
    first.wait()
    tasks.go()
    stage.executor()
    assert [ended(stage, order) for order in orders] == [c.OUTCOME_SUCCESS] * 5
    assert tasks.began() == [f"waits{n}" for n in range(5)]
    nothing_left(place)


def test_kills_between_launches_start_every_task_exactly_once(stage: Stage, tasks: Tasks, place: Place) -> None:
    executor = stage.executor()
    orders = [tasks.order(f"quick{n}") for n in range(20)]
    stage.write(*orders)
    for enough in (1, 8):
        until(lambda enough=enough: len(tasks.began()) >= enough, f"{enough} tasks began", SECONDS)
        executor.kill()
        executor.wait()
        executor = stage.executor()
    assert [ended(stage, order) for order in orders] == [c.OUTCOME_SUCCESS] * 20
    assert tasks.began() == sorted(f"quick{n}" for n in range(20))
    nothing_left(place)


def test_a_paused_executor_that_lost_its_partitions_starts_nothing(stage: Stage, tasks: Tasks, place: Place) -> None:
    paused = stage.executor()
    before, later = tasks.order("waits1"), tasks.order("waits2")
    stage.write(before)
    until(tasks.began, "it runs", SECONDS)
    paused.send_signal(signal.SIGSTOP)
    stage.executor(wait=True)
    stage.write(later)
    until(lambda: tasks.began() == ["waits1", "waits2"], "the second executor starts it", SECONDS)
    paused.send_signal(signal.SIGCONT)
    tasks.go()
    assert ended(stage, before) == c.OUTCOME_SUCCESS
    assert ended(stage, later) == c.OUTCOME_SUCCESS
    after = tasks.order("quick1")
    stage.write(after)
    assert ended(stage, after) == c.OUTCOME_SUCCESS
    assert tasks.began() == ["quick1", "waits1", "waits2"]
    nothing_left(place)


def test_a_stop_leaves_workers_to_the_next_executor(stage: Stage, tasks: Tasks, place: Place, tmp_path: Path) -> None:
    first = stage.executor()
    order = tasks.order("waits1")
    stage.write(order)
    until(tasks.began, "it runs", SECONDS)
    first.terminate()
    assert first.wait(20) == 0
    stage.executor()
    tasks.go()
    assert ended(stage, order) == c.OUTCOME_SUCCESS
    assert tasks.began() == ["waits1"]
