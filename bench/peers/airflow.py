"""Airflow: LocalExecutor with 32 slots on PostgreSQL, tuned as its documentation says."""

from __future__ import annotations

import os
import shutil
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from bench.peers import postgres
from bench.peers.marks import Marks
from bench.peers.peer import WORKLOADS, PackagedPeer
from bench.peers.processes import free_ports, wait_until
from bench.peers.web import Page


class Airflow(PackagedPeer):
    """See the module and `Peer`."""

    name = "Airflow"
    isolation = "process a task"
    durable = "every state of a task, in PostgreSQL"
    tuning = (
        "LocalExecutor with 32 slots, PostgreSQL, scheduler idle sleep 0.05 s (default 1), 64 tasks a query (16), "
        "pool of 30 database connections (5), DAG files read again every 5 minutes (30 s), "
        "a file a workload, the many DAGs of W3's only made where they are needed (get_parsing_context)"
    )
    workloads = ("w1", "w2", "w3", "memory", "web")
    requirements = ("apache-airflow==3.3.2", "psycopg2-binary==2.9.*", "asyncpg==0.31.*")
    environment_name = "airflow"

    def install(self) -> None:
        super().install()
        postgres.install()

    def start(self) -> None:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        processes = self.new_home(
            AIRFLOW_HOME="{home}",
            AIRFLOW__CORE__DAGS_FOLDER="{home}/dags",
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__CORE__PARALLELISM="32",
            AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG="256",
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
            AIRFLOW__CORE__FERNET_KEY=_key(),
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
            AIRFLOW__API_AUTH__JWT_SECRET=_key(),
            AIRFLOW__API__SECRET_KEY=_key(),
            AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.05",
            AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY="64",
            AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE="30",
            AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="300",
        )
        shutil.copytree(WORKLOADS / "airflow", self.home / "dags")
        database = postgres.start(processes)
        processes.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"postgresql+psycopg2://{database}"
        airflow = self.bin / "airflow"
        processes.call("migrate", airflow, "db", "migrate")
        processes.start("api-server", airflow, "api-server", "--port", str(port), "--host", "127.0.0.1")
        processes.start("scheduler", airflow, "scheduler")
        processes.start("dag-processor", airflow, "dag-processor")
        self._client = httpx.Client(base_url=url, timeout=30)
        wait_until("Airflow's API", self._answers)
        token = self._client.get("/auth/token").json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        wait_until("Airflow's DAGs", lambda: self._call("GET", "/dags?limit=1")["total_entries"] == self.sizes.dags + 2)
        self.run("w1")

    def _answers(self) -> bool:
        self.started.check()
        try:
            return self._client.get("/api/v2/version").status_code == 200
        except httpx.HTTPError:
            return False

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._client.request(method, f"/api/v2{path}", json=body)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    def _trigger(self, dag_id: str, marks: Marks) -> str:
        run_id = f"{dag_id}-{marks.folder.name}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"marks": str(marks.folder)}}
        try:
            self._call("POST", f"/dags/{dag_id}/dagRuns", body)
        except httpx.TimeoutException:  # a busy server; an id is used once, so asking again is safe
            answer = self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
            if answer.status_code != httpx.codes.CONFLICT:
                answer.raise_for_status()
        return f"/dags/{dag_id}/dagRuns/{run_id}"

    def run(self, workload: str) -> dict[str, float]:
        marks = self.marks()
        dags = [f"bench_{workload}"]
        if workload == "w3":
            dags = [f"bench_w3_{number:03d}" for number in range(self.sizes.dags)]
        with ThreadPoolExecutor(8) as pool:
            runs = list(pool.map(lambda dag_id: self._trigger(dag_id, marks), dags))
        marks.wait(self.sizes.tasks(workload), 280, self.started.check)
        if workload != "w3":
            wait_until("the run's end", lambda: self._call("GET", runs[0])["state"] == "success", 60)
        return marks.values(workload)

    def dags_page(self) -> Page:
        authorization = self._client.headers["Authorization"]
        return Page(str(self._client.base_url.join("/api/v2/dags?limit=50")), {"Authorization": authorization})


def _key() -> str:
    return urlsafe_b64encode(os.urandom(32)).decode()
