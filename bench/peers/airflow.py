"""Airflow: LocalExecutor with 32 slots on PostgreSQL, tuned as its documentation says."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

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


class Airflow:
    """See the module and `Peer`."""

    name = "Airflow 3.3.2"
    isolation = "process"
    tuning = "LocalExecutor 32, PostgreSQL, scheduler idle sleep 0.05 s"
    workloads = ("w1", "w2", "w3")

    def __init__(self) -> None:
        self._environment = Environment("airflow", "apache-airflow==3.3.2", "psycopg2-binary==2.9.*", "asyncpg==0.31.*")
        self._home = HOME / "airflow-home"

    def install(self) -> None:
        self._environment.install()
        if not _postgres_folder():
            if sys.platform == "darwin" or os.geteuid() != 0:
                raise RuntimeError(
                    "PostgreSQL is missing. Debian: apt-get install postgresql; macOS: brew install postgresql"
                )
            subprocess.run(["apt-get", "install", "-y", "-qq", "postgresql"], check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        (self._home / "dags").mkdir(parents=True)
        shutil.copy(WORKLOADS / "airflow_workloads.py", self._home / "dags")
        self._port, database = free_port(), free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._processes = Processes(self._home, self._settings(database))
        self._start_postgres(database)
        airflow = self._environment.bin / "airflow"
        self._processes.call(airflow, "db", "migrate")
        for name, *command in (
            ("api-server", "api-server", "--port", str(self._port), "--host", "127.0.0.1"),
            ("scheduler", "scheduler"),
            ("dag-processor", "dag-processor"),
        ):
            self._processes.start(name, airflow, *command)
        wait_until("Airflow's API", self._answers)
        self._token = httpx.get(f"{self._url}/auth/token", timeout=30).json()["access_token"]
        wait_until("Airflow's DAGs", lambda: self._get("/dags?limit=1")["total_entries"] == DAGS + 2)
        for dag_id in ["bench_w1", "bench_w2", *(f"bench_w3_{number:03d}" for number in range(DAGS))]:
            self._call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
        self._run_once()

    def _settings(self, database: int) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self._home),
            "BENCH_DAGS": str(DAGS),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._home / "dags"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "32",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "256",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__API_AUTH__JWT_SECRET": Fernet.generate_key().decode(),
            "AIRFLOW__API__SECRET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@127.0.0.1:{database}/postgres",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.05",
            "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
        }

    def _start_postgres(self, port: int) -> None:
        programs = _postgres_folder()
        if not programs:
            raise RuntimeError("PostgreSQL is missing")
        data = self._home / "postgres"
        data.mkdir()
        as_user: list[str] = []
        if os.geteuid() == 0:  # its server refuses to run as root
            user = pwd.getpwnam("postgres")
            for folder in (data, self._home):
                os.chown(folder, user.pw_uid, user.pw_gid)
            as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._processes.call(*as_user, programs / "initdb", "--auth=trust", "--username=postgres", "-D", data)
        self._processes.start(
            "postgres", *as_user, programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data,
            "-c", "max_connections=200",
        )  # fmt: skip
        wait_until("PostgreSQL", lambda: "ready to accept" in (self._home / "postgres.log").read_text())

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._url}/api/v2/version", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _get(self, path: str) -> dict[str, int]:
        answer = httpx.get(f"{self._url}/api/v2{path}", headers=self._headers, timeout=60)
        answer.raise_for_status()
        content: dict[str, int] = answer.json()
        return content

    def _call(self, method: str, path: str, body: dict[str, object]) -> None:
        httpx.request(
            method, f"{self._url}/api/v2{path}", headers=self._headers, json=body, timeout=120
        ).raise_for_status()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _trigger(self, dag_id: str, marks: Marks) -> None:
        body = {"dag_run_id": f"{dag_id}-{marks.run}", "logical_date": None, "conf": {"marks": str(marks.folder)}}
        self._call("POST", f"/dags/{dag_id}/dagRuns", body)

    def _run_once(self) -> None:
        """The first run of a fresh installation isn't measured."""
        self.run("w1")

    def run(self, workload: str) -> Answer:
        marks = Marks()
        if workload == "w3":
            dags = [f"bench_w3_{number:03d}" for number in range(DAGS)]
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda dag_id: self._trigger(dag_id, marks), dags))
            marks.wait(DAGS * TASKS_OF_A_DAG, 1200)
            return marks.burst()
        self._trigger(f"bench_{workload}", marks)
        marks.wait(CHAIN_LENGTH if workload == "w1" else FAN_OUT + 2, 300)
        return marks.chain() if workload == "w1" else marks.fan_out()

    def memory_mib(self) -> float:
        return self._processes.memory_mib()

    def stop(self) -> None:
        self._processes.stop()


def _postgres_folder() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None
