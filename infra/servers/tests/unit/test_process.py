"""Any process that listens stands in for a server: what is promised about starting and stopping."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from spinner_servers import process
from spinner_servers.process import Launch, ServerError, free_port

_LISTEN = """
import socket, sys, time
server = socket.socket()
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
time.sleep(600)
"""


def launch(data: Path, program: str = _LISTEN, ready_seconds: float = 20.0) -> Launch:
    port = free_port()
    return Launch(
        name="Listener",
        command=[sys.executable, "-c", program, str(port)],
        data=data,
        log=data / "log",
        address=f"127.0.0.1:{port}",
        ready=lambda: process.accepts(port),
        ready_seconds=ready_seconds,
    )


def test_a_started_server_answers_and_stop_leaves_nothing(tmp_path: Path) -> None:
    listener = launch(tmp_path)
    server = process.start(listener)
    assert listener.ready()
    assert process.start(listener).pid == server.pid, "a second start is a no-op"
    assert process.stop(tmp_path, grace_seconds=5)
    assert not server.is_running()
    assert not process.stop(tmp_path), "nothing was running any more"


def test_a_server_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"stopped before it answered(.|\n)*disk is on fire"):
        process.start(launch(tmp_path, "import sys; sys.exit('disk is on fire')"))
    assert process.running(tmp_path) is None


def test_a_server_that_never_answers_is_stopped_after_the_bound(tmp_path: Path) -> None:
    silent = launch(tmp_path, "import time; print('waiting', flush=True); time.sleep(600)", ready_seconds=0.5)
    with pytest.raises(ServerError, match=r"didn't answer within"):
        process.start(silent)
    assert process.running(tmp_path) is None


def test_a_stale_pid_of_another_process_is_not_stopped(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert not process.stop(tmp_path)
    assert psutil.pid_exists(os.getpid())


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port(taken) > taken


def test_compiled_modules_are_kept_where_python_may_not_put_them_beside_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "module.py").write_text("value = 1\n")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert process.bytecode_environment(tmp_path / "cache") == {}
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = {**os.environ, **process.bytecode_environment(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path / "sources", env=env, check=True)
    assert list((tmp_path / "cache").rglob("module.*.pyc"))
    assert not (tmp_path / "sources" / "__pycache__").exists()
