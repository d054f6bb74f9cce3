"""A PostgreSQL of a peer's own, durable as it comes, for its turn."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.processes import Processes, free_ports, wait_until


def install() -> None:
    """Brings PostgreSQL where this can be done; raises RuntimeError with what to do otherwise."""
    if _programs():
        return
    if sys.platform == "darwin" or os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError("PostgreSQL is missing. Debian: apt-get install postgresql; macOS: brew install postgresql")
    subprocess.run(["apt-get", "install", "-y", "-qq", "postgresql"], check=True, stdout=subprocess.DEVNULL)


def start(processes: Processes) -> str:
    """Starts a new server among a peer's processes; returns `user@host:port/database`."""
    programs = _programs()
    if not programs:
        raise RuntimeError("PostgreSQL is missing")
    data, (port,) = processes.folder / "postgres", free_ports(1)
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # its server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(data, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    processes.call("initdb", *as_user, programs / "initdb", "--auth=trust", "--username=postgres", "-D", data)
    processes.start(
        "postgres", *as_user, programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data,
        "-c", "max_connections=200", "-c", "shared_buffers=256MB",
    )  # fmt: skip

    def ready() -> bool:
        processes.check()
        return "ready to accept" in processes.log_end("postgres")

    wait_until("PostgreSQL", ready)
    return f"postgres@127.0.0.1:{port}/postgres"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None
