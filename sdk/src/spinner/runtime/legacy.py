"""A migrated job's command in the legacy container beside this worker, over the pipes of a folder that both share.

The protocol is the executor's (`spinner_executor.adapters.kubernetes.legacy`): `command`, `output` and `stop` are named
pipes, `ready` and `status` files. The container runs one command in its life; when it dies under it, it says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

from spinner.exceptions import SpinnerException
from spinner.runtime.output import OutputCopy
from spinner.runtime.usage import meter

_READY_SECONDS = 60.0
_STATUS_SECONDS = 120.0
_LOOK_SECONDS = 0.05


class ContainerLost(SpinnerException):
    """The container died under its command."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    out_of_memory: bool = False


def folder() -> Path | None:
    """The shared folder; None when this worker has no legacy container."""
    stated = os.environ.get("SPINNER_LEGACY")
    return Path(stated) if stated else None


def await_ready(shared: Path, seconds: float = _READY_SECONDS) -> None:
    """Blocks until the container takes a command. Raises SpinnerException."""
    if not _appears(shared / "ready", seconds):
        raise SpinnerException(f"The legacy container is not ready after {seconds:.0f} s; see its log in the pod.")


def run(shared: Path, command: str, copy: OutputCopy, grace_seconds: float = 10.0) -> Ended:
    """Runs the command; its output goes to ``copy``. Blocks.

    Raises ContainerLost. An exception that interrupts it (cancellation, time-out) ends all of the container's processes
    and is raised on.
    """
    try:
        with (shared / "command").open("wb") as pipe:
            pipe.write(command.encode())
        with (shared / "output").open("rb") as output:
            copy.run(output.fileno())
        return _status(shared)
    except BaseException:
        _end(shared, grace_seconds)
        raise


def _status(shared: Path) -> Ended:
    if not _appears(shared / "status", _STATUS_SECONDS):
        raise ContainerLost("The legacy container closed its output and says nothing of how its command ended.")
    text = (shared / "status").read_text().strip()
    facts = dict(part.partition("=")[::2] for part in text.split())
    if "exit" not in facts:
        raise ContainerLost("The legacy container was killed or restarted while it ran the command.")
    # The kernel counts what the container used; the job is its only content.
    meter.others_peak_bytes = max(meter.others_peak_bytes, int(facts.get("peak") or 0))
    meter.others_cpu_seconds += int(facts.get("cpu") or 0) / 1e9
    return Ended(int(facts["exit"]), facts.get("oom", "0") not in ("", "0") and int(facts["exit"]) != 0)


def _end(shared: Path, grace_seconds: float) -> None:
    with contextlib.suppress(OSError):
        descriptor = _writable(shared / "stop")
        os.write(descriptor, f"{grace_seconds:.0f}\n".encode())
        os.close(descriptor)
        _appears(shared / "status", grace_seconds + 2)


def _writable(pipe: Path) -> int:
    """A pipe that somebody reads, or OSError: without a reader nothing is to be ended."""
    deadline = time.monotonic() + 1.0
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)


def _appears(file: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
