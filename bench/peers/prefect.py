"""Prefect: a flow in one process against its own server, tasks in threads of it or in a pool of processes."""

from __future__ import annotations

import httpx

from bench.peers import postgres
from bench.peers.peer import WORKLOADS, PackagedPeer
from bench.peers.processes import free_ports, wait_until
from bench.peers.sizes import Sizes


class Prefect(PackagedPeer):
    """See the module and `Peer`. `isolated`: tasks in a pool of processes, which are used again."""

    requirements = ("prefect==3.9.1",)
    environment_name = "prefect"
    durable = "states are told to the server, late; the flow's process decides: when it dies, the run is lost"

    def __init__(self, sizes: Sizes, isolated: bool) -> None:
        super().__init__(sizes)
        self._mode = "process" if isolated else "none"
        self.isolation = "pool of processes" if isolated else "none"
        self.name = "Prefect, process pool" if isolated else "Prefect, in process"
        self.tuning = ("ProcessPoolTaskRunner with 4 processes" if isolated else "its default task runner") + (
            "; its server on PostgreSQL"
        )
        self.workloads = ("w1", "w2", "memory") if isolated else ("w1", "w2", "w3", "memory")

    def install(self) -> None:
        super().install()
        postgres.install()

    def start(self) -> None:
        (port,) = free_ports(1)
        api = f"http://127.0.0.1:{port}/api"
        processes = self.new_home(
            PREFECT_HOME="{home}",
            PREFECT_API_URL=api,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            DO_NOT_TRACK="1",
            PREFECT_LOGGING_LEVEL="WARNING",
        )
        url = f"postgresql+asyncpg://{postgres.start(processes)}"
        processes.environment["PREFECT_API_DATABASE_CONNECTION_URL"] = url
        prefect = self.bin / "prefect"
        processes.start("server", prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port))

        def answers() -> bool:
            processes.check()
            try:
                return httpx.get(f"{api}/health", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until("Prefect's server", answers)
        self.run("w1")

    def run(self, workload: str) -> dict[str, float]:
        marks = self.marks()
        script = WORKLOADS / "prefect_flows.py"
        self.started.call(workload, self.bin / "python", script, workload, marks.folder, self._mode)
        marks.wait(self.sizes.tasks(workload), 1)
        return marks.values(workload)
