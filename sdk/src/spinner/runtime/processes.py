"""The processes of a try: what it started, what that started, and what hid behind a double fork or a new session.

The worker adopts orphans (PR_SET_CHILD_SUBREAPER, Linux 3.4), so while it lives the tree is complete. What is executed
also has SPINNER_WORKER in its environment, by which the executor finds it when the worker was killed. Nothing of a try
outlives it: a container takes its processes along, and on a shared machine the worker does the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

MARK = "SPINNER_WORKER"
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # children of any kind, see waitid(2)
# Python's own helpers: they end with the pipe to their parent, after they have tidied up.
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def adopt_orphans(yes: bool = True) -> None:
    """Makes this process the parent of all that its descendants leave behind, or no longer."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _is_childless() -> bool:
    """Whether this process has no child, not even a zombie: the kernel says so faster than it lists them."""
    if _libc is not None:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
        except ChildProcessError:
            return True
    return False


def descendants(pid: int) -> list[int]:
    """Children of all threads of ``pid``, and theirs, zombies too; empty where the kernel doesn't list them."""
    if pid == os.getpid() and _is_childless():
        return []
    found: list[int] = []
    pending = [pid]
    while pending:
        parent = pending.pop()
        with contextlib.suppress(OSError, ValueError):
            for task in os.scandir(f"/proc/{parent}/task"):
                children = [int(child) for child in Path(task.path, "children").read_text().split()]
                found += children
                pending += children
    return found


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat[stat.rfind(b")") + 2 : stat.rfind(b")") + 3] not in (b"Z", b"X")
    return False


def _is_helper(pid: int) -> bool:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return any(helper in command for helper in _HELPERS)
    return True


def signal_all(pids: Collection[int], number: signal.Signals) -> None:
    """Sends a signal to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_descendants(known: Collection[int] = ()) -> None:
    """SIGKILL to all. Stopped processes start no others: when nothing new is found, nobody escapes."""
    stopped: set[int] = set()
    while fresh := {*known, *descendants(os.getpid())} - stopped:
        signal_all(fresh, signal.SIGSTOP)
        stopped |= fresh
    signal_all(stopped, signal.SIGKILL)


def end_leftovers(grace_seconds: float = 1.0) -> list[int]:
    """Ends what the try left running, by SIGTERM and then SIGKILL. Returns their process ids. Blocks for the grace."""
    left = [pid for pid in descendants(os.getpid()) if _lives(pid) and not _is_helper(pid)]
    if not left:
        return []
    signal_all(left, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(map(_lives, left)) and time.monotonic() < deadline:
        time.sleep(0.01)
    remaining = [pid for pid in descendants(os.getpid()) if _lives(pid) and not _is_helper(pid)]
    if remaining:
        kill_descendants()
    for pid in left:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return left
