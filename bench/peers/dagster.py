"""Dagster: a job from its own Python API, a process a step (its default) or all in one process."""

from __future__ import annotations

from bench.peers.peer import WORKLOADS, PackagedPeer
from bench.peers.sizes import Sizes


class Dagster(PackagedPeer):
    """See the module and `Peer`. `isolated`: a process a step."""

    workloads = ("w1", "w2", "memory")
    serves = False
    requirements = ("dagster==1.13.29",)
    environment_name = "dagster"
    durable = "events of steps, in SQLite; the run's process decides: when it dies, the run has failed"

    def __init__(self, sizes: Sizes, isolated: bool) -> None:
        super().__init__(sizes)
        self._mode = "process" if isolated else "none"
        self.isolation = "process a task" if isolated else "none"
        self.name = "Dagster, multiprocess" if isolated else "Dagster, in process"
        self.tuning = (
            "multiprocess executor, forkserver that has the job's module loaded, 4 at once"
            if isolated
            else "in_process_executor"
        ) + "; jobs started by its Python API, without daemon and web server"

    def start(self) -> None:
        self.new_home(DAGSTER_HOME="{home}")
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    def run(self, workload: str) -> dict[str, float]:
        marks = self.marks()
        script = WORKLOADS / "dagster_jobs.py"
        self.started.call(workload, self.bin / "python", script, workload, marks.folder, self._mode)
        marks.wait(self.sizes.tasks(workload), 1)
        return marks.values(workload)
