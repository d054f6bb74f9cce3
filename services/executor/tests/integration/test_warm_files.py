"""A DAG file that is asked for often is read once, and whatever happens to its reader or its top level, tries run."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from stage import Stage, until

RUN_LOCAL = "spinner.runtime.runner:run_local"

DAG_FILE = """
import os
from datetime import datetime, timezone
from pathlib import Path
from spinner import DAG, Variable, task

READS, GATE = Path({reads!r}), Path({gate!r})
with READS.open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
READ_BY = os.getpid()
{top_level}

ACCESS = {{"team": {{"can_dag_read"}}}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    @task
    def work():
        print("read by", READ_BY, "run by", os.getpid())

    @task
    def wait():
        import time
        print("read by", READ_BY, "run by", os.getpid(), flush=True)
        while not GATE.exists():
            time.sleep(0.01)

    work()
    wait()
"""


class Scene:
    """A bundle with one file on a stage."""

    def __init__(self, stage: Stage, folder: Path, top_level: str = "") -> None:
        self.stage = stage
        self.reads = folder / "reads"
        self.gate = folder / "gate"
        text = DAG_FILE.format(reads=str(self.reads), gate=str(self.gate), top_level=top_level)
        self.bundle = stage.bundle(dag=text)
        self.tries = 0
        stage.executor(executor_entry=RUN_LOCAL, executor_ahead=1)

    def start(self, task_id: str = "work") -> TaskOrder:
        self.tries += 1
        order = self.stage.order(task_id, self.bundle, "dag.py", try_number=self.tries)
        self.stage.write(order)
        return order

    def run(self) -> tuple[int, int]:
        """One try: the process that read the file, the process that ran the task."""
        return self.ended(self.start())

    def ended(self, order: TaskOrder) -> tuple[int, int]:
        ended = self.stage.wait(order).ended
        log = self.stage.log_of(ended).decode()
        assert ended.outcome == c.OUTCOME_SUCCESS, log
        return self.said(log)

    @staticmethod
    def said(log: str) -> tuple[int, int]:
        found = re.search(r"read by (\d+) run by (\d+)", log)
        assert found, log
        return int(found[1]), int(found[2])

    def warm(self) -> int:
        """Runs tries until one comes from a reader; the reader's process number."""
        for _ in range(40):
            read_by, run_by = self.run()
            if read_by != run_by:
                return read_by
        raise AssertionError("no try came from a reader")

    def times_read(self) -> int:
        return len(self.reads.read_text().splitlines())


def test_a_file_asked_for_often_is_read_once_for_all_later_tries(stage: Stage, tmp_path: Path) -> None:
    scene = Scene(stage, tmp_path)
    reader = scene.warm()
    before = scene.times_read()
    pairs = [scene.run() for _ in range(5)]
    assert scene.times_read() == before
    assert {read_by for read_by, _ in pairs} == {reader}
    assert len({run_by for _, run_by in pairs}) == 5


def test_tries_survive_the_death_of_their_reader(stage: Stage, tmp_path: Path) -> None:
    scene = Scene(stage, tmp_path)
    reader = scene.warm()
    order = scene.start("wait")
    stage.wait(order, "started")
    process = psutil.Process(reader)
    process.kill()
    # One that is still dying has idle workers.
    assert psutil.wait_procs([process], timeout=60)[0] == [process]
    read_by, _ = scene.run()
    assert read_by != reader
    scene.gate.touch()
    assert scene.ended(order)[0] == reader


def test_a_reader_ends_with_its_server(stage: Stage, tmp_path: Path) -> None:
    reader = psutil.Process(Scene(stage, tmp_path).warm())
    server = reader.parent()
    assert server is not None
    server.kill()
    gone, _ = psutil.wait_procs([reader], timeout=10)
    assert gone == [reader]


@pytest.mark.parametrize(
    "top_level",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "KEEP = open(__file__)",
        "import subprocess; CHILD = subprocess.Popen(['sleep', '30'])",
        "try:\n    Variable.get('x')\nexcept Exception:\n    pass",
        # Only a reader has no output.
        "if os.fstat(1).st_rdev == os.stat(os.devnull).st_rdev:\n    os._exit(3)",
    ],
    ids=["thread", "file", "child", "variable", "exit"],
)
def test_a_file_that_cannot_be_shared_is_read_by_each_try(stage: Stage, tmp_path: Path, top_level: str) -> None:
    scene = Scene(stage, tmp_path, top_level)
    said = tmp_path / "data" / "forkserver.log"
    for _ in range(12):
        read_by, run_by = scene.run()
        assert read_by == run_by
        if "is not read ahead" in said.read_text():
            break
    until(lambda: "is not read ahead" in said.read_text(), "the file is found to be cold")
    read_by, run_by = scene.run()
    assert read_by == run_by
