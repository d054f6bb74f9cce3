"""C7: what a try uses: its whole process tree on a machine, its control group in a container.

A local worker shares its control group with others, so there the tree is looked at: the peak is the greatest of the
worker's own, its ended children's (the kernel keeps both) and the sums seen at :meth:`Meter.look`. A container is its
own control group; the kernel counts every process, also killed ones. Page cache that can be given back is no need of
the task, so inactive file pages are taken off.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

from spinner_proto.common.v1 import common_pb2 as pb

from spinner.runtime.processes import descendants

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_UNIT = 1 if sys.platform == "darwin" else 1024


class Cgroup:
    """A control group that belongs to this worker alone, version 1 or 2, mounted at ``root``.

    Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst ("memory.peak", "memory.stat", "cpu.stat") and
    cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst.
    """

    def __init__(self, root: Path, memory: Path, cpu: Path, version: int) -> None:
        self._root, self._memory, self._cpu, self.version = root, memory, cpu, version
        self._peak = 0

    @classmethod
    def find(cls, root: str = "/sys/fs/cgroup") -> Cgroup | None:
        """The group as a container sees it; None when its files are not there."""
        base = Path(root)
        if (base / "memory.current").exists():
            return cls(base, base, base, 2)
        for cpu in ("cpuacct", "cpu,cpuacct"):
            if (base / "memory" / "memory.usage_in_bytes").exists() and (base / cpu / "cpuacct.usage").exists():
                return cls(base, base / "memory", base / cpu, 1)
        return None

    def look(self) -> None:
        """Notes what is used now."""
        current = _number(self._memory / ("memory.current" if self.version == 2 else "memory.usage_in_bytes"))
        self._peak = max(self._peak, current - self._reclaimable())

    def _reclaimable(self) -> int:
        name = "inactive_file" if self.version == 2 else "total_inactive_file"
        return _fields(self._memory / "memory.stat").get(name, 0)

    def peak_memory_bytes(self) -> int:
        """The greatest use so far."""
        self.look()
        peak = _number(self._memory / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"))
        return max(self._peak, peak - self._reclaimable())

    def cpu_seconds(self) -> float:
        """CPU time of all processes, ended ones too."""
        if self.version == 2:
            return _fields(self._cpu / "cpu.stat").get("usage_usec", 0) / 1e6
        return _number(self._cpu / "cpuacct.usage") / 1e9


def _number(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def _fields(path: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
    return {}


class Meter:
    """What this worker uses. ``cgroup``: its own one, if it has one."""

    def __init__(self, cgroup: Cgroup | None = None) -> None:
        self.cgroup = cgroup
        self._tree_peak = 0
        self._cpu_before = 0.0
        # What another container of this try used, as it says itself.
        self.others_peak_bytes, self.others_cpu_seconds = 0, 0.0

    def restart(self) -> None:
        """The CPU time of this process so far is not the try's."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu_before = own.ru_utime + own.ru_stime

    def look(self) -> None:
        """Notes what is used now; cheap without children."""
        if self.cgroup is not None:
            self.cgroup.look()
        children = descendants(os.getpid())
        if children:
            self._tree_peak = max(self._tree_peak, _resident(os.getpid()) + sum(map(_resident, children)))

    def usage(self) -> pb.Usage:
        """All so far."""
        self.look()
        own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = max(max(own.ru_maxrss, ended.ru_maxrss) * _UNIT, self._tree_peak)
        cpu = own.ru_utime + own.ru_stime - self._cpu_before + ended.ru_utime + ended.ru_stime
        if self.cgroup is not None:
            peak, cpu = self.cgroup.peak_memory_bytes() or peak, self.cgroup.cpu_seconds() or cpu
        else:
            cpu += sum(map(_cpu, descendants(os.getpid())))
        # Requests are learned from peaks: each container has its own, and the greater one is the task's.
        peak, cpu = max(peak, self.others_peak_bytes), cpu + self.others_cpu_seconds
        result = pb.Usage(peak_memory_bytes=peak, cpu_seconds=cpu)
        with contextlib.suppress(OSError, ValueError):
            with open("/proc/self/io", "rb", 0) as file:  # noqa: PTH123 - each try reads it
                facts = dict(line.split(b": ") for line in file.readall().splitlines())
            result.read_bytes, result.written_bytes = int(facts[b"rchar"]), int(facts[b"wchar"])
        return result


def _resident(pid: int) -> int:
    """Bytes that are in memory for this process and not shared with the one it was forked from."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
        return (int(resident) if pid == os.getpid() else max(0, int(resident) - int(shared))) * _PAGE
    return 0


def _cpu(pid: int) -> float:
    """CPU seconds of a living process and of its ended children."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return sum(map(int, stat[stat.rfind(b")") + 2 :].split()[11:15])) / _TICK
    return 0.0


meter = Meter()
