"""A stack of its own for tests and benchmarks, driven only through what users have: CLI, REST, Kafka, signals."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
PORTS = (
    "kafka",
    "kafka-controller",
    "webgateway",
    "webgateway-grpc",
    "scheduler",
    "executor",
    "dag-sync",
    "token-fetcher",
    "rca",
)
FINISHED = {"success", "failed"}
T = TypeVar("T")


def wait_for(what: str, check: Callable[[], T | None], seconds: float = 60.0, pause_seconds: float = 0.05) -> T:
    """Returns the first truthy value of `check`; AssertionError when there is none in time, with the last failure."""
    deadline = time.monotonic() + seconds
    reason = "never true"
    while True:
        try:
            if value := check():
                return value
        except (httpx.HTTPError, AssertionError, subprocess.SubprocessError) as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {seconds:.0f} s ({reason})")
        time.sleep(pause_seconds)


# Made once: reading the certificates costs more than most requests.
_TLS = ssl.create_default_context()


@dataclass(frozen=True)
class Mark:
    """One start of user code, as `dags/marks.py` wrote it."""

    run_id: str
    task_id: str
    map_index: int
    event: str
    try_number: int
    time_ns: int
    pid: int


class Stack:
    """One embedded stack in a temporary home, with bundles of its own."""

    def __init__(
        self,
        bundles: dict[str, Path],
        examples: bool = True,
        settings: dict[str, str] | None = None,
        parent: Path | None = None,
    ) -> None:
        # A short path: sockets live below it.
        self.home = Path(tempfile.mkdtemp(prefix="sp-", dir=parent))
        self.scratch = self.home / "scratch"
        self.marks = self.home / "marks"
        self.samples = self.home / "samples"
        self.scratch.mkdir()
        self.marks.mkdir()
        entries: list[dict[str, Any]] = [
            {"name": name, "kind": "folder", "path": str(path)} for name, path in bundles.items()
        ]
        entries.append({"name": "scratch", "kind": "folder", "path": str(self.scratch), "interval_seconds": 0.5})
        if examples:
            entries += [
                {"name": "examples", "kind": "folder", "path": str(ROOT / "examples")},
                {
                    "name": "pinball",
                    "kind": "pinball",
                    "repository": "examples",
                    "path": str(ROOT / "examples" / "pinball"),
                    "tier": 3,
                    "access_control": {"everyone": ["can_dag_read", "can_dag_edit"]},
                },
            ]
        self.bundles_file = self.home / "e2e-bundles.yaml"
        self.bundles_file.write_text(json.dumps({"bundles": entries}))
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        (self.home / "state.json").write_text(json.dumps({"ports": ports}))
        unset = ("SPINNER_", "PYTEST_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        self.environment = {
            **inherited,
            "SPINNER_HOME": str(self.home),
            "SPINNER_BUNDLES": str(self.bundles_file),
            "SPINNER_SAMPLE_OUTPUT": str(self.samples),
            **(settings or {}),
        }

    # CLI

    def run(self, *arguments: str, check: bool = True, seconds: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Runs `spinner …`; AssertionError with its output when it fails and `check` is set."""
        done = subprocess.run(
            [sys.executable, "-m", "spinner_cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"spinner {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """What `spinner … --json` prints."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def up(self) -> str:
        return self.run("up", "--no-ui", seconds=300).stdout

    def down(self) -> str:
        return self.run("down", seconds=120).stdout

    def close(self, keep: bool = False) -> None:
        """Stops everything and removes the home, unless SPINNER_E2E_KEEP is set."""
        keep = keep or bool(os.environ.get("SPINNER_E2E_KEEP"))
        try:
            self.run("down", check=False)
        finally:
            if not keep:
                shutil.rmtree(self.home, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Every live process of this stack, by the mark in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SPINNER_HOME") == str(self.home) and process.status() != "zombie":
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def service(self, name: str) -> dict[str, Any]:
        return next(row for row in self.json("status") if row["name"] == name)

    # REST

    def port(self, name: str) -> int:
        """Where one of PORTS listens."""
        return int(json.loads((self.home / "state.json").read_text())["ports"][name])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port('webgateway')}"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port('kafka')}"

    def rest(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}/api/v1{path}", timeout=60, verify=_TLS, **arguments)

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a paged list."""
        cursor: str | None = None
        while True:
            answer = self.rest("GET", path, params={**query, "limit": 500, **({"cursor": cursor} if cursor else {})})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.items("/dags")}

    def trigger(self, dag_id: str, run_id: str = "", conf: dict[str, Any] | None = None) -> str:
        """Starts a run and returns its id. The conf gets this stack's marks folder."""
        body: dict[str, Any] = {"conf": {"marks": str(self.marks), **(conf or {})}}
        if run_id:
            body["run_id"] = run_id
        answer = self.rest("POST", f"/dags/{dag_id}/runs", json=body)
        assert answer.status_code == 200, f"{dag_id}: {answer.status_code} {answer.text}"
        return str(answer.json()["run_id"])

    def trigger_many(self, pairs: list[tuple[str, str]], conf: dict[str, Any] | None = None) -> None:
        """Starts (dag id, run id) pairs, 16 at a time."""
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda pair: self.trigger(pair[0], pair[1], conf), pairs))

    def get_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        answer = self.rest("GET", f"/dags/{dag_id}/runs/{quote(run_id, safe='')}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return list(self.items(f"/dags/{dag_id}/runs/{quote(run_id, safe='')}/tasks"))

    def finished(self, dag_id: str, run_id: str, seconds: float = 90.0, pause_seconds: float = 0.05) -> dict[str, Any]:
        """Waits for a run's end and returns it."""

        def ended() -> dict[str, Any] | None:
            run = self.get_run(dag_id, run_id)
            return run if run["state"] in FINISHED else None

        return wait_for(f"end of {dag_id}/{run_id}", ended, seconds, pause_seconds)

    def all_finished(self, dag_id: str, run_ids: set[str], seconds: float = 180.0) -> dict[str, str]:
        """Waits until all these runs have ended; returns their states by id."""

        def ended() -> dict[str, str] | None:
            states = {run["run_id"]: run["state"] for run in self.items(f"/dags/{dag_id}/runs")}
            mine = {run_id: states.get(run_id, "missing") for run_id in run_ids}
            open_ = Counter(state for state in mine.values() if state not in FINISHED)
            assert not open_, f"{dag_id}: {dict(open_)}"
            return mine

        return wait_for(f"end of {len(run_ids)} runs of {dag_id}", ended, seconds)

    # Marks and records

    def read_marks(self, dag_id: str, run_ids: set[str] | None = None) -> list[Mark]:
        """All marks of a DAG's runs."""
        found = []
        for path in self.marks.glob(f"{dag_id}~*"):
            _, run_id, task_id, map_index = path.name.split("~")
            if run_ids is not None and run_id not in run_ids:
                continue
            for line in path.read_text().splitlines():
                event, try_number, time_ns, pid = line.split()
                found.append(Mark(run_id, task_id, int(map_index), event, int(try_number), int(time_ns), int(pid)))
        return found

    def records(self, dag_id: str) -> list[Any]:
        """The JobExecutionRecords of a DAG, straight from the topic."""
        from spinner_eventlog.kafka import KafkaLog
        from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord

        log = KafkaLog(self.bootstrap, "e2e")
        try:
            records = [
                record.decode(JobExecutionRecord)
                for partition in range(log.partition_count("workflow_job_executions"))
                for record in log.read_all("workflow_job_executions", partition)
                if record.key == dag_id
            ]
        finally:
            log.close()
        return records


def unique(prefix: str) -> str:
    """A run id that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
