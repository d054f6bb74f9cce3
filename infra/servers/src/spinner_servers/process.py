"""Starting a server process, waiting until it answers, stopping exactly that process.

A started server is known by its pid and its start time, kept in `<data>/server.json`, so that a stale file
after a machine crash never points at somebody else's process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from spinner_servers.progress import step


class ServerError(Exception):
    """A server can't be installed, started or stopped. The message says why and what to do."""


@dataclass(frozen=True)
class Launch:
    """How to run one server.

    `ready` returns True once the server answers; it may raise OSError while it doesn't. `user` is the
    account to run as when started by root. `address` is what clients connect to.
    """

    name: str
    command: Sequence[str]
    data: Path
    log: Path
    address: str
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 30.0


def free_port(preferred: int = 0, taken: Sequence[int] = ()) -> int:
    """Returns `preferred` when nothing listens there on loopback, otherwise the next free port above it (0: any)."""
    for port in range(preferred, 65536) if preferred else [0]:
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError(f"No free port from {preferred} up. Stop something that listens there, or choose a lower port.")


def accepts(port: int) -> bool:
    """True when something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def log_tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log file, each shortened to 500 characters; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            last = file.read().decode(errors="replace").splitlines()[-lines:]
            return "\n".join(line if len(line) <= 500 else f"{line[:500]}…" for line in last)
    except OSError:
        return ""


def bytecode_environment(cache: Path) -> dict[str, str]:
    """Variables that let Python processes keep compiled modules below `cache` where the environment forbids them to
    lie beside the sources (PYTHONDONTWRITEBYTECODE, usual in container images): compiling them anew takes each service
    more than half a second of CPU. Empty elsewhere.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(cache)}


def running(data: Path) -> psutil.Process | None:
    """The live process that `start` left in this data folder, or None."""
    try:
        state = json.loads((data / "server.json").read_text())
        process = psutil.Process(state["pid"])
        if abs(process.create_time() - state["created"]) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, psutil.Error):
        pass
    return None


def start(launch: Launch, with_parent: bool = False) -> psutil.Process:
    """Runs a server in a session of its own and blocks until it answers; idempotent while it runs.

    With `with_parent` the kernel kills it when this process dies (Linux). Raises ServerError with the end of
    the log when it stops early or doesn't answer within `ready_seconds`; nothing is left running then.
    """
    if (process := running(launch.data)) is not None:
        return process
    with step(f"starting {launch.name} at {launch.address}"):
        with launch.log.open("ab") as log:
            child = subprocess.Popen(
                launch.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **launch.environment},
                start_new_session=True,
                cwd=launch.data,
                user=launch.user,
                group=launch.user and _group_of(launch.user),
                extra_groups=[] if launch.user else None,
                preexec_fn=die_with_parent if with_parent and sys.platform == "linux" else None,
            )
        process = psutil.Process(child.pid)
        (launch.data / "server.json").write_text(json.dumps({"pid": child.pid, "created": process.create_time()}))
        try:
            wait_ready(launch, lambda: child.poll() is None)
        except BaseException:
            stop(launch.data, grace_seconds=0)
            child.wait()
            raise
    return process


def wait_ready(launch: Launch, alive: Callable[[], bool]) -> None:
    """Blocks until the server answers; raises ServerError when `alive()` turns false or the time is over."""
    deadline = time.monotonic() + launch.ready_seconds
    while True:
        try:
            if launch.ready():
                return
        except OSError:
            pass
        if not alive():
            raise ServerError(_failure(launch, "stopped before it answered"))
        if time.monotonic() > deadline:
            raise ServerError(_failure(launch, f"didn't answer within {launch.ready_seconds:.0f} s"))
        time.sleep(0.03)


def stop(data: Path, grace_seconds: float = 30.0) -> bool:
    """Stops the server of this data folder: SIGTERM, after `grace_seconds` SIGKILL, to it and its children.

    Returns whether one was running. Blocks until it is gone.
    """
    process = running(data)
    if process is None:
        (data / "server.json").unlink(missing_ok=True)
        return False
    family = [process, *process.children(recursive=True)]
    if grace_seconds > 0:
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs([process], timeout=grace_seconds)
    survivors = [member for member in family if member.is_running()]
    for member in survivors:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(survivors, timeout=10)
    (data / "server.json").unlink(missing_ok=True)
    return True


def _failure(launch: Launch, what: str) -> str:
    tail = log_tail(launch.log)
    return f"{launch.name} {what}. The end of {launch.log}:\n{tail or '(empty)'}"


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills the child when its parent ends (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
