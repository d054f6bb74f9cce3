"""Control groups of this machine, version 1 or 2: a group has the same name in every hierarchy.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cgroups.rst. A group can be removed when it
has neither processes nor groups below it; a killed process leaves its group a moment after the signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from spinner_servers.process import ServerError

ROOT = Path("/sys/fs/cgroup")
_LOOK_SECONDS = 0.05


def is_version_2() -> bool:
    """Whether version 2 is the only one here."""
    return (ROOT / "cgroup.controllers").exists()


def folders(name: str) -> list[Path]:
    """Where a group is, or would be."""
    if is_version_2():
        return [ROOT / name]
    return [folder / name for folder in ROOT.iterdir() if folder.is_dir() and (folder / "cgroup.procs").exists()]


def make(name: str, divided: bool = False) -> None:
    """Makes a group, `divided`: for groups with limits below it, else for processes. Raises ServerError."""
    if is_version_2():
        _divide(ROOT)
    for folder in folders(name):
        folder.mkdir(exist_ok=True)
        if is_version_2():
            if divided:
                _divide(folder)
            continue
        for file in ("cpuset.cpus", "cpuset.mems"):  # a new set is empty, and holds nobody
            if (folder / file).exists() and not (folder / file).read_text().strip():
                (folder / file).write_text((folder.parent / file).read_text())


def _divide(folder: Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    try:
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in available))
    except OSError as error:
        raise ServerError(
            f"The control group {folder} cannot be divided ({error.strerror}): with version 2 only a group without "
            "processes of its own can be, or the machine's first one. Move its processes to a group below it."
        ) from error


def limit_memory(name: str, limit: int | None) -> None:
    """The kernel kills in the group when its processes need more than `limit` bytes together; None: no limit."""
    for folder in folders(name):
        for file, none in (("memory.max", "max"), ("memory.limit_in_bytes", "-1")):
            if (folder / file).exists():
                (folder / file).write_text(none if limit is None else str(limit))


def processes(name: str) -> set[int]:
    """Pids of all that is in a group or below it."""
    found: set[int] = set()
    for folder in _below(name):
        with contextlib.suppress(OSError):
            found.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
    return found


def remove(name: str, seconds: float = 20.0) -> None:
    """Kills what is in a group, and removes it with all below it; blocks. Raises ServerError when it stays."""
    deadline = time.monotonic() + seconds
    while left := list(_below(name)):
        for pid in processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if time.monotonic() > deadline:
            raise ServerError(
                f"The control group {left[-1]} cannot be removed after {seconds:.0f} s; in it are the processes "
                f"{sorted(processes(name)) or '(none)'}, and {len(left)} groups are left."
            )
        if any(folder.exists() for folder in folders(name)):
            time.sleep(_LOOK_SECONDS)


def _below(name: str) -> Iterator[Path]:
    """A group and those below it, deepest first; what vanishes meanwhile is left out."""
    for folder in folders(name):
        if folder.is_dir():
            yield from (Path(path) for path, _, _ in os.walk(folder, topdown=False))
