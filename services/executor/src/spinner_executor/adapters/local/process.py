"""Processes told apart from later ones with the same number, by their start time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

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
