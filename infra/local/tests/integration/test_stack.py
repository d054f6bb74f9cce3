"""The stack's life with real Kafka and supervisord; small stand-ins play the services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.kafka import KafkaLog
from spinner_local.home import PORTS, Home
from spinner_local.services import SERVICES
from spinner_servers.process import free_port

# A service that is ready at once; the executor also starts a worker in a session of its own.
STAND_IN = """
import json, os, signal, subprocess, sys, time
status = os.environ["SPINNER_STATUS_FILE"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if status.endswith("executor.json"):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open(status, "w") as file:
    json.dump({"state": "ready", "grpc": os.environ["SPINNER_GRPC_ADDRESS"], "version": "1", "pid": os.getpid()}, file)
time.sleep(600)
"""


class Local:
    """`python -m spinner_local` with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.home.make()
        taken: list[int] = []
        for _ in PORTS:
            taken.append(free_port(taken=taken))
        state = self.home.load()
        state.ports = dict(zip(PORTS, taken, strict=True))
        self.home.save(state)
        for service in SERVICES:
            package = folder / "services" / service.module
            package.mkdir(parents=True)
            (package / "__init__.py").touch()
            (package / "__main__.py").write_text(STAND_IN)
        self.environment = {
            **os.environ,
            "SPINNER_HOME": str(self.home.root),
            "PYTHONPATH": str(folder / "services"),
        }

    def run(self, *arguments: str) -> str:
        program = (
            "import sys; from spinner_local import stack; from spinner_local.home import Home; home = Home.default()"
        )
        calls = {
            "up": "stack.up(home, build_ui=False)",
            "down": "print(stack.down(home))",
            "status": "import json; print(json.dumps(stack.as_json(stack.status(home))))",
        }
        done = subprocess.run(
            [sys.executable, "-c", f"{program}\n{calls[arguments[0]]}"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, dict[str, object]]:
        return {row["name"]: row for row in json.loads(self.run("status"))}

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SPINNER_HOME") == str(self.home.root) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found


def wait_for(check: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.fixture
def local() -> Iterator[Local]:
    with tempfile.TemporaryDirectory(prefix="sp-") as folder:
        local = Local(Path(folder))
        try:
            yield local
        finally:
            local.run("down")


def test_the_life_of_a_stack(local: Local) -> None:
    first = local.run("up")
    assert "Spinner is up after" in first
    assert "topics created" in first
    rows = local.status()
    assert {row["state"] for row in rows.values()} == {"running"}
    assert "already up" in local.run("up")
    assert {name: row["pid"] for name, row in local.status().items()} == {n: r["pid"] for n, r in rows.items()}

    os.kill(int(str(rows["scheduler"]["pid"])), 9)
    wait_for(lambda: local.status()["scheduler"]["pid"] != rows["scheduler"]["pid"])
    wait_for(lambda: local.status()["scheduler"]["state"] == "running")

    log = KafkaLog(str(rows["kafka"]["address"]), "test")
    log.producer("test").send(Outgoing("dead_letters", "kept", None, raw=b"kept"))
    wait_for(lambda: "kept" in [record.key for record in log.read_all("dead_letters", 0)])

    os.kill(local.home.load().supervisor_pid, 9)
    assert "leftover processes ended" in local.run("up"), "a supervisor's crash leaves orphans, which `up` replaces"
    assert {row["state"] for row in local.status().values()} == {"running"}
    assert {row["address"] for row in local.status().values()} == {row["address"] for row in rows.values()}
    assert "kept" in [record.key for record in log.read_all("dead_letters", 0)], "data survives"
    log.close()

    assert local.run("down").splitlines()[-1] == "True"
    assert local.processes() == []
    assert {row["state"] for row in local.status().values()} == {"stopped"}
    assert local.run("down").splitlines()[-1] == "False"
