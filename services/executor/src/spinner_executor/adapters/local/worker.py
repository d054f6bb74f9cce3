"""What a forked process does to become the worker of a try, before the SDK takes over."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from spinner_executor.adapters.local.process import start_time

# Tells the server that a process of this worker's name had been there before, so that its end isn't the worker's.
EXIT_DOUBLE = 96


def take(assignment: dict[str, Any]) -> None:
    """Makes this process the worker of `assignment` (a fork server's request): its record, log, limits, environment.

    Ends the process when another one of the same name has been there.
    """
    folder, worker = Path(assignment["folder"]), assignment["worker"]
    record = {
        "pid": os.getpid(),
        "start_time": start_time(os.getpid()),
        "worker": worker,
        "segment": assignment["segment"],
    }
    try:
        descriptor = os.open(folder / f"worker-{worker}.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        os._exit(EXIT_DOUBLE)
    os.write(descriptor, json.dumps(record).encode())
    os.close(descriptor)
    output_to(folder / "log")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # Services and pages stay quick however many workers compute.
    if assignment["niceness"]:
        with contextlib.suppress(OSError):
            os.nice(assignment["niceness"])
    limit = assignment["memory_limit_bytes"]
    if limit:
        limit_memory(limit, limit)
    os.environ.update(assignment["environment"])
    os.environ["SPINNER_RUNTIME_SOCKET"] = assignment["address"]
    os.environ["SPINNER_TOKEN_FILE"] = str(folder / "token")


def output_to(path: Path | str) -> None:
    """Sends stdout and stderr to the end of a file, and takes stdin away."""
    log = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def limit_memory(soft: int, hard: int) -> None:
    """Bounds this process's memory, as far as the system can; bytes."""
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (soft, hard))
