"""Dagster: a job from its own Python API, a process a step (its default) or all in one process."""

from __future__ import annotations

import shutil

from bench.peers.peer import CHAIN_LENGTH, FAN_OUT, HOME, WORKLOADS, Answer, Environment, Marks, Processes


class Dagster:
    """See the module and `Peer`. `isolation`: "process" or "none"."""

    workloads = ("w1", "w2")

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation
        self.name = "Dagster 1.13.29, " + ("multiprocess" if isolation == "process" else "in process")
        self.tuning = "its default executor" if isolation == "process" else "in_process_executor"
        self._environment = Environment("dagster", "dagster==1.13.29")
        self._home = HOME / f"dagster-home-{isolation}"

    def install(self) -> None:
        self._environment.install()

    def start(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True)
        (self._home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        self._processes = Processes(self._home, {"DAGSTER_HOME": str(self._home)})

    def run(self, workload: str) -> Answer:
        marks = Marks()
        self._processes.call(
            self._environment.bin / "python", WORKLOADS / "dagster_jobs.py", workload, marks.folder, self.isolation
        )
        marks.wait(CHAIN_LENGTH if workload == "w1" else FAN_OUT + 2, 10)
        return marks.chain() if workload == "w1" else marks.fan_out()

    def memory_mib(self) -> float:
        return 0.0

    def stop(self) -> None:
        self._processes.stop()
