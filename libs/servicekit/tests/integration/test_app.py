"""The life of a service process, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PRELUDE = """
import asyncio, signal, sys, threading
from spinner_servicekit.app import App, run, run_async
from spinner_servicekit.settings import ServiceSettings
"""

POLITE = """
def main(app):
    app.on_stop(lambda: print("first registered", flush=True))
    app.on_stop(lambda: print("last registered", flush=True))
    app.ready(grpc="127.0.0.1:1")
    app.wait()
    print("woken", flush=True)
run("demo", ServiceSettings, main, [])
"""

POLITE_ASYNC = """
async def main(app):
    app.on_stop(lambda: print("last registered", flush=True))
    app.ready(http="127.0.0.1:2")
    try:
        await asyncio.Event().wait()
    finally:
        print("woken", flush=True)
run_async("demo", ServiceSettings, main, [])
"""


def start(program: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"SPINNER_STATUS_FILE": str(folder / "status.json")} | variables
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def status(folder: Path, state: str) -> dict:
    deadline = time.monotonic() + 60
    path = folder / "status.json"
    while time.monotonic() < deadline:
        if path.exists() and (found := json.loads(path.read_text()))["state"] == state:
            return found
        time.sleep(0.01)
    raise AssertionError(f"never {state}: {path.read_text() if path.exists() else 'no file'}")


@pytest.mark.parametrize("program", [POLITE, POLITE_ASYNC], ids=["threads", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_gracefully(tmp_path, program, number):
    process = start(program, tmp_path, SPINNER_METRICS_ADDRESS="127.0.0.1:0")
    found = status(tmp_path, "ready")
    assert found["pid"] == process.pid
    assert found["name"] == "demo"
    assert found["grpc"] or found["http"]
    assert not found["metrics"].endswith(":0")
    assert found["version"]
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out.splitlines()[:2] == ["woken", "last registered"]
    assert status(tmp_path, "stopping")


@pytest.mark.parametrize(
    "program",
    [
        "def main(app):\n  raise ZeroDivisionError('a bug')\nrun('demo', ServiceSettings, main, [])",
        "async def main(app):\n  raise ZeroDivisionError('a bug')\nrun_async('demo', ServiceSettings, main, [])",
        "def main(app):\n  threading.Thread(target=lambda: 1 / 0).start()\n  app.wait()\n"
        "run('demo', ServiceSettings, main, [])",
        "def main(app):\n  app.crash(ZeroDivisionError('a bug'))\n  app.wait()\nrun('demo', ServiceSettings, main, [])",
    ],
    ids=["main", "async main", "thread", "told"],
)
def test_a_bug_ends_it_with_code_1_and_says_why(tmp_path, program):
    process = start(program, tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = [json.loads(line) for line in err.splitlines()]
    (crash,) = [line for line in lines if line["level"] == "critical"]
    assert "ZeroDivisionError" in crash["exception"]


def test_an_address_that_is_none_is_explained(tmp_path):
    process = start(POLITE, tmp_path, SPINNER_METRICS_ADDRESS="everywhere")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "'everywhere' is not an address" in err


def test_a_process_without_an_endpoint_never_imports_opentelemetry(tmp_path):
    program = "def main(app):\n  print('opentelemetry.sdk' in sys.modules)\nrun('demo', ServiceSettings, main, [])"
    out, _ = start(program, tmp_path).communicate(timeout=60)
    assert out.strip() == "False"
