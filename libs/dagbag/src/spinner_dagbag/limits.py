"""What one bounded child may use, and how those bounds are put on a process."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child.

    The memory bound is on private data (RLIMIT_DATA) of each process, and on the resident memory of the
    whole process tree, which a watch samples four times a second.
    """

    time_seconds: float = 30.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 64 << 10
    result_bytes: int = 64 << 20
    processes: int = 64
    file_bytes: int = 256 << 20

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def apply(limits: Limits) -> None:
    """Bounds the calling process; children inherit the bounds."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, int(limits.time_seconds) + 5)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_NOFILE, 1024)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_DATA, limits.memory_bytes)
        # Address space also counts shared and file mappings, which numerical libraries reserve freely.
        _lower(resource.RLIMIT_AS, 4 * limits.memory_bytes)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that ends (Linux; elsewhere nothing happens)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Processes that descendants leave behind become children of this one (Linux; elsewhere nothing happens)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))
