"""Processes told apart from later ones with the same number, by their start time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from spinner.runtime.processes import MARK, descendants

# Secrets reach a task one by one, as it asks for them, so that they can be masked in its log.
_SECRET = ("SPINNER_SECRET_KEY", "SPINNER_VAULT_", "SPINNER_CONN_", "SPINNER_VAR_", "AIRFLOW_CONN_", "AIRFLOW_VAR_")


def without_secrets() -> dict[str, str]:
    """This process's environment without what user code must not read."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}


def start_time(pid: int) -> str | None:
    """What identifies the process `pid` beside its number; None when there is no such process or it is a zombie."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        fields = stat[stat.rfind(b")") + 2 :].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None


def boot_id() -> str:
    """Differs after each start of the machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.exists():
        return path.read_text().strip()
    import psutil

    return str(round(psutil.boot_time() / 10))


def signal_group(pid: int, started: str, number: int) -> bool:
    """Sends a signal to the process group that `pid` leads, if it is still the process that `started` then."""
    if start_time(pid) != started:
        return False
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS: a zombie in the group
        try:
            os.kill(pid, number)
        except OSError:
            return False
    return True


def kill_tree(pid: int, started: str, worker: str) -> None:
    """SIGKILL to the worker `pid`, if it is still the process that `started` then, and to all that it started. Blocks.

    The worker adopts the orphans of its tree, so its descendants are all of them (see spinner.runtime.processes).
    """
    if start_time(pid) == started:
        tree = {pid}
        _signal(pid, signal.SIGSTOP)
        while fresh := set(_descendants(pid)) - tree:  # a stopped process starts no other
            for child in fresh:
                _signal(child, signal.SIGSTOP)
            tree |= fresh
        for member in tree:
            _signal(member, signal.SIGKILL)
    kill_marked(worker)


def kill_marked(worker: str) -> None:
    """SIGKILL to every process that has the worker's mark in its environment: what outlived it. Blocks."""
    mark = f"{MARK}={worker}"
    seen: set[int] = set()
    while fresh := {pid for pid in _marked(mark) if pid != os.getpid()} - seen:
        for pid in fresh:
            _signal(pid, signal.SIGKILL)
        seen |= fresh


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    if sys.platform == "linux":
        return descendants(pid)
    import psutil

    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _marked(mark: str) -> Iterator[int]:
    if sys.platform == "linux":
        needle = b"\0" + mark.encode() + b"\0"
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if needle in b"\0" + Path(entry.path, "environ").read_bytes() + b"\0":
                        yield int(entry.name)
        return
    import psutil

    name, _, value = mark.partition("=")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(name) == value:
                yield process.pid
