"""Kills, pauses, cancellations and deferrals: nothing runs twice, nothing is forgotten."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

# Says that it began, then waits for a file.
WAITING = """
import time, pathlib
def task(client, work):
    with open({began!r}, "a") as file:
        file.write(work.order.try_key.task_id + "\\n")
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.02)
"""


NEVER = """
import asyncio
from spinner.triggers import BaseTrigger
class Never(BaseTrigger):
    async def run(self):
        await asyncio.sleep(3600)
        yield None
"""


@pytest.fixture
def began(tmp_path: Path) -> Path:
    return tmp_path / "began"


@pytest.fixture
def waiting(stage: Stage, tmp_path: Path, began: Path) -> c.BundleRef:
    return stage.bundle(dag=WAITING.format(began=str(began), go=str(tmp_path / "go")))


def _lines(path: Path) -> list[str]:
    return sorted(path.read_text().split()) if path.exists() else []


def _worker_pid(stage: Stage, data: str = "data") -> int:
    (record,) = (stage.folder / data / "tries").glob("*/*/worker-*.json")
    return int(json.loads(record.read_text())["pid"])


def test_workers_survive_a_kill_of_the_executor_and_are_adopted(
    stage: Stage, waiting: c.BundleRef, began: Path, tmp_path: Path
) -> None:
    first = stage.executor()
    orders = [stage.order(f"t{n}", waiting, "dag.py") for n in range(5)]
    stage.write(*orders)
    until(lambda: len(_lines(began)) == 5, "all tasks run")
    first.kill()
    first.wait()
    (tmp_path / "go").touch()  # some end while nobody is there
    stage.executor()
    for order in orders:
        assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    assert _lines(began) == [f"t{n}" for n in range(5)]


def test_a_kill_between_launches_starts_every_task_exactly_once(stage: Stage, began: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    bundle = stage.bundle(dag=WAITING.format(began=str(began), go=str(tmp_path / "go")))
    first = stage.executor(executor_parallelism=4)
    orders = [stage.order(f"t{n}", bundle, "dag.py") for n in range(40)]
    stage.write(*orders)
    until(lambda: len(_lines(began)) >= 5, "some tasks ran")
    first.kill()
    first.wait()
    stage.executor(executor_parallelism=4)
    for order in orders:
        assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    assert _lines(began) == sorted(f"t{n}" for n in range(40))


def _fork_servers(stage: Stage) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "forkserver" in line and str(stage.folder) in line and "worker" not in process.name():
            found.append(process)
    return found


def test_workers_survive_executor_and_fork_server_both_killed(
    stage: Stage, waiting: c.BundleRef, began: Path, tmp_path: Path
) -> None:
    first = stage.executor(executor_ahead=0)
    lives, dies = stage.order("lives", waiting, "dag.py"), stage.order("dies", waiting, "dag.py")
    stage.write(dies)
    until(lambda: _lines(began), "the first runs")
    victim = _worker_pid(stage)
    stage.write(lives)
    until(lambda: len(_lines(began)) == 2, "both run")
    first.kill()
    first.wait()
    workers = {int(json.loads(r.read_text())["pid"]) for r in (tmp_path / "data" / "tries").glob("*/*/worker-*.json")}
    for process in _fork_servers(stage):
        if process.pid not in workers:
            process.kill()
    stage.executor(executor_ahead=0)
    os.kill(victim, signal.SIGKILL)
    assert stage.wait(dies).ended.outcome == c.OUTCOME_LOST  # nobody could learn its status
    (tmp_path / "go").touch()
    assert stage.wait(lives).ended.outcome == c.OUTCOME_SUCCESS
    assert _lines(began) == ["dies", "lives"]


def test_a_stop_can_end_workers_and_fork_server(stage: Stage, waiting: c.BundleRef, began: Path) -> None:
    process = stage.executor(executor_stop_workers="true")
    stage.write(stage.order("t", waiting, "dag.py"))
    until(lambda: _lines(began), "it runs")
    process.terminate()
    assert process.wait(15) == 0
    until(lambda: not _fork_servers(stage), "no fork server, no idle or working worker")


def test_a_killed_worker_is_a_crash(stage: Stage, waiting: c.BundleRef, began: Path) -> None:
    stage.executor()
    order = stage.order("victim", waiting, "dag.py")
    stage.write(order)
    until(lambda: _lines(began), "it runs")
    os.kill(_worker_pid(stage), signal.SIGKILL)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_CRASHED
    assert ended.exit_code == 137
    assert "SIGKILL" in ended.message
    assert ended.usage.peak_memory_bytes > 0
    assert b"SIGKILL" in stage.log_of(ended)


def test_a_worker_killed_while_no_executor_lives_is_a_crash(stage: Stage, waiting: c.BundleRef, began: Path) -> None:
    first = stage.executor()
    order = stage.order("victim", waiting, "dag.py")
    stage.write(order)
    until(lambda: _lines(began), "it runs")
    first.kill()
    first.wait()
    os.kill(_worker_pid(stage), signal.SIGKILL)
    stage.executor()
    assert stage.wait(order).ended.outcome == c.OUTCOME_CRASHED
    assert _lines(began) == ["victim"]


def test_a_paused_executor_that_lost_its_partitions_starts_nothing(
    stage: Stage, waiting: c.BundleRef, began: Path, tmp_path: Path
) -> None:
    paused = stage.executor()
    order = stage.order("before", waiting, "dag.py")
    stage.write(order)
    until(lambda: _lines(began), "it runs")
    paused.send_signal(signal.SIGSTOP)
    # The next owner fences the paused one: it may start tasks, the paused one may not.
    second = stage.executor(wait=True)
    later = stage.order("later", waiting, "dag.py")
    stage.write(later)
    until(lambda: _lines(began) == ["before", "later"], "the second executor starts it", 70)
    paused.send_signal(signal.SIGCONT)
    (tmp_path / "go").touch()
    assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    assert stage.wait(later).ended.outcome == c.OUTCOME_SUCCESS
    after = stage.order("after", waiting, "dag.py")
    stage.write(after)
    assert stage.wait(after, seconds=30).ended.outcome == c.OUTCOME_SUCCESS
    assert _lines(began) == ["after", "before", "later"]
    assert second.poll() is None


def test_an_executor_that_was_fenced_by_no_new_owner_takes_its_partitions_again(
    stage: Stage, waiting: c.BundleRef, began: Path, tmp_path: Path
) -> None:
    stage.executor()
    first = stage.order("first", waiting, "dag.py")
    stage.write(first)
    until(lambda: _lines(began), "it runs")
    for partition in range(stage.partitions):  # as the broker does to who leaves a transaction open
        stage.log.transactional_producer(f"executor-spinner-{partition}").close()
    second = stage.order("second", waiting, "dag.py")
    stage.write(second)
    (tmp_path / "go").touch()
    assert stage.wait(first, seconds=30).ended.outcome == c.OUTCOME_SUCCESS
    assert stage.wait(second, seconds=30).ended.outcome == c.OUTCOME_SUCCESS
    assert _lines(began) == ["first", "second"]


def test_a_cancelled_task_is_stopped_and_reported_as_killed(stage: Stage, waiting: c.BundleRef, began: Path) -> None:
    stage.executor()
    order = stage.order("long", waiting, "dag.py")
    stage.write(order)
    until(lambda: _lines(began), "it runs")
    pid = _worker_pid(stage)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert stage.wait(order).ended.outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")


def test_an_order_cancelled_before_it_ran_is_reported_without_a_worker(
    stage: Stage, waiting: c.BundleRef, began: Path
) -> None:
    stage.executor(executor_parallelism=1)
    running, queued = stage.order("running", waiting, "dag.py"), stage.order("queued", waiting, "dag.py")
    stage.write(running)
    until(lambda: _lines(began), "it runs")
    stage.write(queued)
    queued.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(queued)
    assert stage.wait(queued).ended.outcome == c.OUTCOME_KILLED_BY_USER
    assert _lines(began) == ["running"]


def test_a_deferred_task_waits_in_the_triggerer_and_goes_on_in_a_new_segment(stage: Stage, tmp_path: Path) -> None:
    source = """
from double_worker import Defer
from spinner_proto.inbox.v1.inbox_pb2 import TaskDeferred
def task(client, work):
    if work.order.segment == 0:
        print("first segment")
        raise Defer(TaskDeferred(trigger_class="waits.Immediate", trigger_arguments_json=b'{"word": "now"}',
                                 method_name="resume"))
    print("resumed with", work.order.resume_event_json.decode())
"""
    trigger = """
from spinner.triggers import BaseTrigger, TriggerEvent
class Immediate(BaseTrigger):
    def __init__(self, word):
        self.word = word
    async def run(self):
        print("said by the trigger")
        yield TriggerEvent({"said": self.word})
"""
    stage.executor()
    order = stage.order("deferred", stage.bundle(dag=source, waits=trigger), "dag.py")
    stage.write(order)
    deferred = stage.wait(order, "deferred").deferred
    order.desired_state = o.DESIRED_STATE_DEFERRED
    order.trigger_class, order.trigger_arguments_json = deferred.trigger_class, deferred.trigger_arguments_json
    stage.write(order)
    fired = stage.wait(order, "trigger_fired")
    assert json.loads(fired.trigger_fired.payload_json) == {"said": "now"}
    assert fired.sequence > 3
    order.desired_state, order.segment = o.DESIRED_STATE_RUNNING, 1
    order.resume_event_json = fired.trigger_fired.payload_json
    stage.write(order)
    end = stage.wait(order)
    assert end.segment == 1
    assert end.ended.outcome == c.OUTCOME_SUCCESS
    log = stage.log_of(end.ended).decode()
    assert log.splitlines()[:2] == ["first segment", "said by the trigger"]
    assert log.splitlines()[2].startswith("resumed with")
    assert [s.stage for s in end.ended.stages].count(c.STAGE_LAUNCH) == 2


def test_a_task_cancelled_while_deferred_is_reported_as_killed(stage: Stage) -> None:
    stage.executor()
    order = stage.order("stuck", stage.bundle(waits=NEVER))
    order.desired_state, order.trigger_class, order.segment = o.DESIRED_STATE_DEFERRED, "waits.Never", 1
    stage.write(order)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert stage.wait(order).ended.outcome == c.OUTCOME_KILLED_BY_USER


def test_a_trigger_that_takes_too_long_fires_with_an_error(stage: Stage) -> None:
    stage.executor()
    order = stage.order("stuck", stage.bundle(waits=NEVER))
    order.desired_state, order.trigger_class = o.DESIRED_STATE_DEFERRED, "waits.Never"
    order.trigger_timeout_time.GetCurrentTime()
    order.trigger_timeout_time.seconds += 1
    stage.write(order)
    assert stage.wait(order, "trigger_fired").trigger_fired.error == "timeout"
