"""Spinner: the embedded stack as `make up` brings it, with the workloads of `bench/dags`."""

from __future__ import annotations

import shutil
import time
from functools import partial

from bench.parts import bench_stack, run_workload, w3_is_done, w3_marks
from bench.peers.peer import CHAIN_LENGTH, DAGS, FAN_OUT, HOME, Answer, Marks
from e2e.harness import unique, wait_for


class Spinner:
    """See the module and `Peer`."""

    name = "Spinner"
    isolation = "process"
    tuning = "none: as `make up` starts it"
    workloads = ("w1", "w2", "w3")

    def install(self) -> None:
        """It is here."""

    def start(self) -> None:
        self._stack = bench_stack()
        self._stack.up()
        wait_for("the workloads", lambda: sum(d.startswith("bench_") for d in self._stack.dag_ids()) == DAGS + 2, 120)
        self.run("w1")

    def run(self, workload: str) -> Answer:
        marks = Marks()
        if workload == "w3":
            batch = unique("w3")
            marks.begin_ns = time.time_ns()
            self._stack.trigger_many([(f"bench_w3_{number:03d}", batch) for number in range(DAGS)])
            wait_for("all tasks", partial(w3_is_done, self._stack, batch), 600, pause_seconds=0.5)
            found = [(f"{mark.run_id}~{mark.task_id}", mark.time_ns) for mark in w3_marks(self._stack, batch)]
        else:
            found = [
                (mark.task_id, mark.time_ns)
                for mark in run_workload(self._stack, f"bench_{workload}")
                if mark.event == "start"
            ]
            assert len(found) == (CHAIN_LENGTH if workload == "w1" else FAN_OUT + 2), len(found)
        for name, time_ns in found:
            (marks.folder / name).write_text(str(time_ns))
        return {"w1": marks.chain, "w2": marks.fan_out, "w3": marks.burst}[workload]()

    def memory_mib(self) -> float:
        return float(sum(row["memory_mib"] for row in self._stack.json("status")))

    def stop(self) -> None:
        self._stack.close()
        shutil.rmtree(HOME / "marks", ignore_errors=True)
