"""supervisord: its configuration, its start, and what it says about its programs.

All programs start at once; each waits for Kafka itself (see `launch`), so imports overlap with Kafka's start.
supervisord runs in a session of its own and outlives `up`.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from spinner_servers.process import ServerError, bytecode_environment, log_tail
from supervisor.xmlrpc import SupervisorTransport

from spinner_local.home import Home, State
from spinner_local.services import NAMES, SERVICES

_RUNNING = "RUNNING"


@dataclass(frozen=True)
class Program:
    """A program as supervisord sees it; `state` is supervisord's word in lower case."""

    name: str
    state: str
    pid: int
    start_seconds: float


def write_configuration(home: Home) -> Path:
    """Writes supervisord's configuration into the home and returns its path."""
    config = configparser.RawConfigParser()
    config["unix_http_server"] = {"file": str(home.socket), "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config["supervisord"] = {
        "nodaemon": "true",
        "logfile": _escaped(home.logs / "supervisor.log"),
        "logfile_maxbytes": "5MB",
        "logfile_backups": "2",
        "pidfile": _escaped(home.run / "supervisor.pid"),
        "childlogdir": _escaped(home.logs),
        "directory": _escaped(home.root),
    }
    for name in NAMES:
        config[f"program:{name}"] = {
            "command": f"{_escaped(Path(sys.executable))} -m spinner_local.launch {name}",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",  # the pause between tries grows up to a bound in `launch`
            "stopsignal": "TERM",
            "stopwaitsecs": "15",
            "redirect_stderr": "true",
            "stdout_logfile": _escaped(home.logs / f"{name}.log"),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "3",
        }
    config["group:services"] = {"programs": ",".join(service.name for service in SERVICES)}
    path = home.run / "supervisor.conf"
    with path.open("w") as file:
        config.write(file)
    return path


def start(home: Home, state: State) -> None:
    """Starts supervisord with all programs and remembers it in `state`. Blocks until it answers (≤ 10 s)."""
    configuration = write_configuration(home)
    home.socket.unlink(missing_ok=True)
    log = home.logs / "supervisor.out"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "spinner_local.supervisord", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                **bytecode_environment(home.root / "bytecode"),
                "SPINNER_HOME": str(home.root),
                "SPINNER_STACK": state.marker,
            },
        )
    state.supervisor_pid = child.pid
    state.supervisor_created = psutil.Process(child.pid).create_time()
    home.save(state)
    deadline = time.monotonic() + 10
    while not _answers(home):
        if child.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"supervisord didn't start. The end of {log}:\n{log_tail(log)}")
        time.sleep(0.02)


def process(state: State) -> psutil.Process | None:
    """The live supervisord of this state, or None."""
    try:
        found = psutil.Process(state.supervisor_pid) if state.supervisor_pid else None
        if (
            found is not None
            and abs(found.create_time() - state.supervisor_created) < 1.0
            and found.status() != psutil.STATUS_ZOMBIE
        ):
            return found
    except psutil.Error:
        pass
    return None


def programs(home: Home) -> dict[str, Program]:
    """All programs by name; empty when supervisord doesn't answer."""
    try:
        rows = _proxy(home).supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error):
        return {}
    return {
        row["name"]: Program(
            row["name"],
            row["statename"].lower(),
            int(row["pid"]),
            max(0.0, float(row["now"]) - float(row["start"])) if row["statename"] == _RUNNING else 0.0,
        )
        for row in rows
    }


def ensure_started(home: Home) -> list[str]:
    """Starts the programs that supervisord gave up or that were stopped by hand; returns their names."""
    stopped = [name for name, program in programs(home).items() if program.state in {"stopped", "fatal", "exited"}]
    for name in stopped:
        _proxy(home).supervisor.startProcess(_full_name(name), False)
    return stopped


def stop(home: Home, names: Sequence[str], seconds: float = 20.0) -> None:
    """Stops programs together until `ensure_started`. Blocks until they are gone or the time is over."""
    # Not by supervisord's own waiting call: its answer sometimes never comes.
    supervisor = _proxy(home).supervisor
    for name in names:
        with contextlib.suppress(xmlrpc.client.Fault):  # it wasn't running
            supervisor.stopProcess(_full_name(name), False)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = programs(home)
        if all(rows[name].state in {"stopped", "fatal", "exited"} for name in names if name in rows):
            return
        time.sleep(0.03)


def shut_down(home: Home, supervisord: psutil.Process) -> None:
    """Ends supervisord, by asking or by force. Blocks until it is gone."""
    try:
        _proxy(home).supervisor.shutdown()
    except (OSError, xmlrpc.client.Error):
        supervisord.terminate()
    try:
        supervisord.wait(20)
    except psutil.TimeoutExpired:
        supervisord.kill()
        supervisord.wait(5)


def _full_name(name: str) -> str:
    return f"{'kafka' if name == 'kafka' else 'services'}:{name}"


def _answers(home: Home) -> bool:
    try:
        return bool(_proxy(home).supervisor.getState())
    except (OSError, xmlrpc.client.Error):
        return False


def _proxy(home: Home) -> Any:
    transport = SupervisorTransport(None, None, f"unix://{home.socket}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
