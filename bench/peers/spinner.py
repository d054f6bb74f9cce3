"""Spinner: the embedded stack as `make up` brings it, with the workloads of `bench/dags`."""

from __future__ import annotations

import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil

from bench.parts import bench_stack, run_workload, w3_is_done, w3_marks
from bench.peers.marks import Marks
from bench.peers.peer import Peer
from bench.peers.sizes import FULL, Sizes
from bench.peers.web import Page
from e2e.harness import ROOT, Stack, unique, wait_for


class Spinner(Peer):
    """See the module and `Peer`. Its workloads have their full size, whatever is asked for."""

    name = "Spinner"
    isolation = "process a task"
    durable = "every state of a task, in Kafka, before anything follows from it"
    tuning = "none: as `make up` starts it"
    workloads = ("w1", "w2", "w3", "memory", "web")

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(FULL)
        self._stack: Stack | None = None

    @property
    def version(self) -> str:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or "of unknown version"

    def install(self) -> None:
        """It is here."""

    @property
    def stack(self) -> Stack:
        assert self._stack is not None, "Spinner isn't started"
        return self._stack

    def start(self) -> None:
        self._stack = bench_stack()
        self._stack.up()
        expected = self.sizes.dags + 2
        wait_for("the workloads", lambda: sum(d.startswith("bench_") for d in self.stack.dag_ids()) == expected, 120)
        self.run("w1")

    def run(self, workload: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            marks = Marks(Path(folder))
            for name, time_ns in self._w3(marks) if workload == "w3" else self._one(workload):
                (marks.folder / name).write_text(str(time_ns))
            marks.wait(self.sizes.tasks(workload), 1)
            return marks.values(workload)

    def _one(self, workload: str) -> list[tuple[str, int]]:
        found = run_workload(self.stack, f"bench_{workload}")
        return [(mark.task_id, mark.time_ns) for mark in found if mark.event == "start"]

    def _w3(self, marks: Marks) -> list[tuple[str, int]]:
        batch = unique("w3")
        marks.begin_ns = time.time_ns()
        self.stack.trigger_many([(f"bench_w3_{number:03d}", batch) for number in range(self.sizes.dags)])
        wait_for("all tasks", partial(w3_is_done, self.stack, batch), 280, pause_seconds=0.5)
        return [(f"{mark.run_id}~{mark.task_id}", mark.time_ns) for mark in w3_marks(self.stack, batch)]

    def processes(self) -> list[psutil.Process]:
        return self._stack.processes() if self._stack else []

    def dags_page(self) -> Page:
        return Page(f"{self.stack.url}/api/v1/dags?limit=50", {})

    def stop(self) -> None:
        if self._stack:
            self._stack.close()
        self._stack = None
