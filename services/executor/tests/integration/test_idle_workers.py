"""Whatever happens to an idle worker between its assignment and its first act, its try runs once, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

TASK = """
import os
def task(client, work):
    with open({ran!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
"""


class Scene:
    """An executor with idle workers that are connected, and a task that says in which process it ran."""

    def __init__(self, stage: Stage, idle: int = 1) -> None:
        self.stage = stage
        self._ran = stage.folder / "ran"
        self._data = stage.folder / "data"
        self.bundle = stage.bundle(dag=TASK.format(ran=str(self._ran)))
        self.executor = stage.executor(executor_ahead=idle, kill_grace_seconds=1)
        self.connected(self.executor, idle)

    def connected(self, executor: subprocess.Popen[bytes], idle: int) -> None:
        process = psutil.Process(executor.pid)

        def sockets() -> int:
            return sum("/idle-" in str(one.laddr) for one in process.net_connections("unix"))

        until(lambda: sockets() == 1 + idle, f"{idle} idle workers are connected", 60)

    def idle(self) -> list[int]:
        """Their process numbers."""
        return [int(folder.name.removeprefix("ready-")) for folder in (self._data / "trash").glob("ready-*")]

    def order(self, task_id: str = "t") -> o.TaskOrder:
        order = self.stage.order(task_id, self.bundle, "dag.py")
        self.stage.write(order)
        return order

    def launched(self, order: o.TaskOrder) -> None:
        """Waits until the executor says that it has launched a worker, which has not started its task."""
        self.stage.wait(order, "launched", 60)

    def succeeds(self, order: o.TaskOrder) -> None:
        ended = self.stage.wait(order, seconds=60).ended
        assert ended.outcome == c.OUTCOME_SUCCESS, ended.message

    def records(self) -> list[Path]:
        """Of workers that took a try which is not removed."""
        return list((self._data / "tries").glob("*/*/worker-*.json"))

    @property
    def ran(self) -> list[int]:
        return [int(line) for line in self._ran.read_text().split()] if self._ran.exists() else []


def _is_over(pid: int) -> bool:
    """Also of one that nobody waits for."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return Scene(stage)


def test_a_try_runs_in_a_worker_that_waited_for_it(scene: Scene) -> None:
    (waiting,) = scene.idle()
    scene.succeeds(scene.order())
    assert scene.ran == [waiting]


def test_an_idle_worker_that_dies_is_replaced(scene: Scene) -> None:
    (waiting,) = scene.idle()
    os.kill(waiting, signal.SIGKILL)
    scene.succeeds(scene.order())
    assert len(scene.ran) == 1
    assert scene.ran != [waiting]
    until(lambda: set(scene.idle()) - {waiting}, "another one waits", 60)


def test_a_worker_that_dies_before_it_takes_its_try_is_replaced(scene: Scene) -> None:
    (waiting,) = scene.idle()
    os.kill(waiting, signal.SIGSTOP)
    order = scene.order()
    until(lambda: scene.stage.of(order, "started"), "its start is granted", 60)
    os.kill(waiting, signal.SIGKILL)
    scene.succeeds(order)
    assert len(scene.ran) == 1
    assert scene.ran != [waiting]


def test_a_try_whose_executor_dies_before_its_worker_takes_it_runs_once(scene: Scene) -> None:
    (waiting,) = scene.idle()
    os.kill(waiting, signal.SIGSTOP)
    order = scene.order()
    until(lambda: scene.stage.of(order, "started"), "its start is granted", 60)
    scene.executor.kill()
    scene.executor.wait()
    scene.stage.executor(executor_ahead=1)
    scene.succeeds(order)
    until(lambda: not scene.records(), "nothing is left of the try", 60)
    os.kill(waiting, signal.SIGCONT)
    until(lambda: _is_over(waiting), "the worker that is nobody's ends", 60)
    assert len(scene.ran) == 1
    assert scene.ran != [waiting]


def test_a_try_whose_executor_stands_still_before_its_worker_takes_it_runs_once(scene: Scene) -> None:
    (waiting,) = scene.idle()
    os.kill(waiting, signal.SIGSTOP)
    order = scene.order()
    until(lambda: scene.stage.of(order, "started"), "its start is granted", 60)
    scene.executor.send_signal(signal.SIGSTOP)
    try:
        scene.stage.executor(executor_ahead=1)
        scene.succeeds(order)
        until(lambda: not scene.records(), "nothing is left of the try", 60)
        os.kill(waiting, signal.SIGCONT)
        until(lambda: _is_over(waiting), "the worker that is nobody's ends", 60)
    finally:
        scene.executor.kill()
        scene.executor.wait()
    assert len(scene.ran) == 1
    assert scene.ran != [waiting]


def test_a_try_cancelled_before_its_worker_takes_it_never_runs(scene: Scene) -> None:
    (waiting,) = scene.idle()
    os.kill(waiting, signal.SIGSTOP)
    order = scene.order()
    until(lambda: scene.stage.of(order, "started"), "its start is granted", 60)
    order.desired_state = o.DESIRED_STATE_CANCELLED
    scene.stage.write(order)
    ended = scene.stage.wait(order, seconds=60).ended
    assert ended.outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: _is_over(waiting), "the worker is gone", 60)
    assert scene.ran == []


def test_idle_workers_end_with_their_fork_server(scene: Scene) -> None:
    (waiting,) = scene.idle()
    server = psutil.Process(waiting).parent()
    assert server is not None
    server.kill()
    until(lambda: _is_over(waiting), "the idle worker is gone", 60)
    scene.succeeds(scene.order())
    assert len(scene.ran) == 1


def test_idle_workers_of_a_dead_executor_end_and_the_next_one_gets_its_own(scene: Scene, stage: Stage) -> None:
    (waiting,) = scene.idle()
    scene.executor.kill()
    scene.executor.wait()
    until(lambda: _is_over(waiting), "the idle worker is gone", 60)
    scene.connected(stage.executor(executor_ahead=1), 1)
    (its_own,) = set(scene.idle()) - {waiting}
    scene.succeeds(scene.order())
    assert scene.ran == [its_own]


def test_tries_at_once_use_up_the_idle_workers_and_all_run(stage: Stage) -> None:
    scene = Scene(stage, idle=3)
    waiting = set(scene.idle())
    orders = [scene.order(f"t{n}") for n in range(12)]
    for order in orders:
        scene.succeeds(order)
    assert len(set(scene.ran)) == len(scene.ran) == 12
    assert waiting <= set(scene.ran)
