"""Tasks that print a gigabyte, or a hundred thousand lines a second: they end as they would, and everyone's memory and
disk stay bounded; the log says what is missing."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from places import LocalPlace, Place
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.executor.v1 import executor_pb2, executor_pb2_grpc
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

MIB = 1 << 20
LINE = b"y\n"
HEAD, TAIL = 8 * MIB, 2 * MIB
MOST = HEAD + 2 * TAIL + MIB // 8
MARK = re.compile(rb"^\[.*WARNING spinner\.log\.left_out: ([\d,]+) bytes \(([\d,]+) lines\) are left out here", re.M)
DAG_FILE = """
import subprocess, sys, time
from datetime import datetime, timezone
from spinner import DAG
from spinner.operators.bash import BashOperator
from spinner.operators.python import PythonOperator

def prints():
    print("it begins")
    begun, lines = time.monotonic(), 0
    while lines < 300_000:
        due = (time.monotonic() - begun) * 100_000
        while lines < due:
            print("line", lines, "of a task that talks more than anybody listens to it")
            lines += 1
        time.sleep(0.001)
    print("lines", lines, "seconds", time.monotonic() - begun)

def hands_over():
    print("it begins", flush=True)
    subprocess.run("yes | head -c 1G", shell=True, check=True)
    print("it ends", flush=True)

def one_line():
    for _ in range(300):
        sys.stdout.write("x" * 1_000_000)
    print()
    print("it ends")

ACCESS = {"team": {"can_dag_read", "can_dag_edit"}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    BashOperator(task_id="gigabyte", bash_command="echo it begins; yes | head -c 1G; echo it ends")
    PythonOperator(task_id="prints", python_callable=prints)
    PythonOperator(task_id="hands_over", python_callable=hands_over)
    PythonOperator(task_id="one_line", python_callable=one_line)
"""


class Watch(threading.Thread):
    """The most that the log's file takes of the disk, looked at all the time."""

    def __init__(self, data: Path) -> None:
        super().__init__(daemon=True)
        self._data = data
        self._ended = threading.Event()
        self.most_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(0.005):
            for log in self._data.glob("tries/*/*/log"):
                try:
                    self.most_bytes = max(self.most_bytes, log.stat().st_blocks * 512)
                except OSError:
                    continue

    def stop(self) -> None:
        self._ended.set()
        self.join()


def peak_memory(pid: int) -> int:
    """The highest resident set of a process so far, bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


class Scene:
    """One executor with small bounds, and what a task costs it."""

    def __init__(self, stage: Stage, place: Place) -> None:
        self.stage, self.place = stage, place
        self.bundle = stage.bundle(dag=DAG_FILE)
        self.executor = stage.executor(log_head=HEAD, log_tail=TAIL, kubernetes_log_rate="2Gi", lost_after_seconds=10)
        self.before = peak_memory(self.executor.pid)

    def begin(self, task_id: str) -> o.TaskOrder:
        order = self.stage.order(task_id, self.bundle, "dag.py")
        self.stage.write(order)
        return order

    def run(self, task_id: str) -> bytes:
        """Runs a task to its end; its log."""
        watch = Watch(self.stage.folder / "data")
        watch.start()
        begun = time.monotonic()
        end = self.stage.wait(self.begin(task_id), seconds=170).ended
        watch.stop()
        grown = peak_memory(self.executor.pid) - self.before
        print(
            f"\n{task_id}: {time.monotonic() - begun:.1f} s, log {end.log_bytes / MIB:.1f} MiB, most on disk "
            f"{watch.most_bytes / MIB:.0f} MiB, executor +{grown / MIB:.0f} MiB, "
            f"worker {end.usage.peak_memory_bytes / MIB:.0f} MiB"
        )
        log = self.stage.log_of(end)
        assert end.outcome == c.OUTCOME_SUCCESS, log[-2000:]
        assert len(log) == end.log_bytes <= MOST + 1000
        assert grown < 100 * MIB
        if isinstance(self.place, LocalPlace):  # a pod's control group counts its files' pages, too
            assert end.usage.peak_memory_bytes < 300 * MIB
        # What is written in the moment before the next look comes on top.
        assert watch.most_bytes < MOST + 700 * MIB
        return log


@pytest.fixture
def scene(stage: Stage, place: Place) -> Scene:
    return Scene(stage, place)


def left_out(log: bytes) -> tuple[int, int]:
    """Bytes and lines that the log says are missing."""
    (found,) = MARK.findall(log)
    return int(found[0].replace(b",", b"")), int(found[1].replace(b",", b""))


@pytest.mark.parametrize("task_id", ["gigabyte", "hands_over"])
def test_a_gigabyte_of_a_command_is_survived_and_the_log_says_what_is_missing(scene: Scene, task_id: str) -> None:
    log = scene.run(task_id)
    assert b"it begins\n" in log and b"it ends\n" in log
    count, lines = left_out(log)
    (mark,) = (line for line in log.splitlines(keepends=True) if MARK.match(line))
    text = log.replace(mark, b"")
    # Every byte and line is either there or counted.
    rest = b"".join(line for line in text.splitlines(keepends=True) if line != LINE)
    assert len(text) + count == (1 << 30) + len(rest)
    assert text.count(b"\n") + lines == (1 << 30) // len(LINE) + rest.count(b"\n")
    assert log.index(b"it begins") < log.index(mark) < log.index(b"it ends")
    assert HEAD - 65_536 <= log.index(mark) <= HEAD and len(log) - log.index(mark) >= TAIL


def test_a_hundred_thousand_lines_a_second_are_followed_live(scene: Scene, place: Place) -> None:
    order = scene.begin("prints")
    scene.stage.wait(order, "started", seconds=120)
    status = json.loads(scene.executor.status_file.read_text())  # type: ignore[attr-defined]
    stub = executor_pb2_grpc.ExecutorServiceStub(grpc.insecure_channel(status["grpc"]))
    answers: list[Any] = []

    def follow() -> None:
        request = executor_pb2.TailLogRequest(try_key=order.try_key, follow=True)
        for answer in stub.TailLog(request, timeout=60):
            answers.append(answer)
            time.sleep(0.02)  # a reader that is slower than the task

    reader = threading.Thread(target=follow)
    reader.start()
    end = scene.stage.wait(order, seconds=60).ended
    assert end.outcome == c.OUTCOME_SUCCESS
    reader.join(60)
    log = scene.stage.log_of(end)
    found = re.search(rb"lines (\d+) seconds ([\d.]+)\n", log)
    assert found is not None
    print(f"\n{place.name}: {int(found[1]) / float(found[2]):,.0f} lines/s, {len(answers)} pieces read")
    assert int(found[1]) >= 300_000
    printed = log.count(b"\nline ") + left_out(log)[1]
    assert abs(printed - int(found[1])) <= 1
    seen = b"".join(answer.text for answer in answers)
    assert answers[-1].final and seen.startswith(log[:1000]) and seen.endswith(log[-1000:])
    assert b"\0" not in seen and all(len(answer.text) <= 256 * 1024 for answer in answers)
    assert peak_memory(scene.executor.pid) - scene.before < 100 * MIB


def test_one_endless_line_is_cut_and_kept_like_any_other(scene: Scene) -> None:
    log = scene.run("one_line")
    count, _ = left_out(log)
    assert log.count(b"x") + count >= 300_000_000
    assert log.endswith(b"it ends\n") or b"\nit ends\n" in log


def test_a_worker_that_is_killed_while_it_prints_leaves_a_bounded_log(scene: Scene, place: Place) -> None:
    order = scene.begin("hands_over")
    scene.stage.wait(order, "started", seconds=120)
    data = scene.stage.folder / "data"

    def printed() -> bool:
        return any(log.stat().st_size > 40 * MIB for log in data.glob("tries/*/*/log"))

    until(printed, "it prints", 60)
    place.kill(order)
    end = scene.stage.wait(order, seconds=60).ended
    log = scene.stage.log_of(end)
    assert end.outcome == c.OUTCOME_CRASHED
    assert len(log) == end.log_bytes <= MOST + 2000
    assert left_out(log)[0] > 0 and b"ERROR spinner.executor" in log[-2000:]
    if isinstance(place, LocalPlace):
        until(lambda: not list(data.glob("tries/*/*")), "its folder is removed")
