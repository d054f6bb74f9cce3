"""Prefect: flows in one process against its own server, tasks in threads; nothing of a task is durable."""

from __future__ import annotations

import shutil

import httpx

from bench.peers.peer import (
    CHAIN_LENGTH,
    DAGS,
    FAN_OUT,
    HOME,
    TASKS_OF_A_DAG,
    WORKLOADS,
    Answer,
    Environment,
    Marks,
    Processes,
    free_port,
    wait_until,
)


class Prefect:
    """See the module and `Peer`."""

    name = "Prefect 3.9.1"
    isolation = "none"
    tuning = "flow and tasks in one process, its server on SQLite"
    workloads = ("w1", "w2", "w3")

    def __init__(self) -> None:
        self._environment = Environment("prefect", "prefect==3.9.1")
        self._home = HOME / "prefect-home"

    def install(self) -> None:
        self._environment.install()

    def start(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True)
        port = free_port()
        api = f"http://127.0.0.1:{port}/api"
        self._processes = Processes(
            self._home,
            {
                "PREFECT_HOME": str(self._home),
                "PREFECT_API_URL": api,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
                "PREFECT_LOGGING_LEVEL": "WARNING",
            },
        )
        self._processes.start(
            "server", self._environment.bin / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)
        )

        def answers() -> bool:
            try:
                return httpx.get(f"{api}/health", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until("Prefect's server", answers)
        self.run("w1")

    def run(self, workload: str) -> Answer:
        marks = Marks()
        self._processes.call(self._environment.bin / "python", WORKLOADS / "prefect_flows.py", workload, marks.folder)
        expected = {"w1": CHAIN_LENGTH, "w2": FAN_OUT + 2, "w3": DAGS * TASKS_OF_A_DAG}
        marks.wait(expected[workload], 10)
        return {"w1": marks.chain, "w2": marks.fan_out, "w3": marks.burst}[workload]()

    def memory_mib(self) -> float:
        return self._processes.memory_mib()

    def stop(self) -> None:
        self._processes.stop()
