"""Whether the kernel killed a process because memory ran out: it counts such kills, and says not whom it killed.

The count is of the control group that this process and its workers are in, version 1 or 2, whichever limit ran out, its
own or one above it. Where no group counts, it is the machine's. Sources: the kernel's
Documentation/admin-guide/cgroup-v2.rst ("memory.events"), cgroup-v1/memory.rst ("memory.oom_control") and
proc(5) on /proc/vmstat.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

# A process that was killed for memory is collected well within this time; an older kill was of something else.
_EXPLAINS_SECONDS = 10.0


class OomKills:
    """Kills of the latest seconds. `proc`, `cgroups`: where the kernel shows processes and control groups."""

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc, self._cgroups = proc, cgroups
        self._source, self._count = self._read()
        self._explained = self._before = self._count
        self._looked = time.monotonic()

    def look(self, now: float) -> None:
        """To be called about once a second: forgets kills that are too old to explain a process that ends now."""
        if now - self._looked < _EXPLAINS_SECONDS:
            return
        self._refresh()
        self._explained = max(self._explained, self._before)
        self._before, self._looked = self._count, now

    def explain_one(self) -> bool:
        """Whether a process that has just been killed may be one of them; each kill explains one process."""
        self._refresh()
        if self._count <= self._explained:
            return False
        self._explained += 1
        return True

    def _refresh(self) -> None:
        source, self._count = self._read()
        if source != self._source:  # somebody moved us
            self._source, self._explained, self._before = source, self._count, self._count

    def _read(self) -> tuple[Path, int]:
        for file in (*self._files(), self._proc / "vmstat"):
            with contextlib.suppress(OSError, ValueError):
                for line in file.read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return file, int(line.split()[1])
        return self._proc, 0

    def _files(self) -> list[Path]:
        found: list[Path] = []
        with contextlib.suppress(OSError):
            for line in (self._proc / "self" / "cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                if not controllers:
                    base, name = self._cgroups, "memory.events"
                elif "memory" in controllers.split(","):
                    base, name = self._cgroups / "memory", "memory.oom_control"
                else:
                    continue
                # In a container the path may be the machine's, while its own group is all that is mounted.
                found += [base / path.lstrip("/") / name, base / name]
        return found
