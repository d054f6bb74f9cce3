"""Where installed programs live, and the tools that fetch them (Maven, Java, Go, apt)."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from spinner_servers.process import ServerError, log_tail
from spinner_servers.progress import step


def cache_folder() -> Path:
    """SPINNER_CACHE; else `/var/cache/spinner` for root, since its servers run under accounts that can't enter root's
    home; else `~/.cache/spinner`."""
    if stated := os.environ.get("SPINNER_CACHE"):
        return Path(stated)
    return Path("/var/cache/spinner") if os.geteuid() == 0 else Path.home() / ".cache" / "spinner"


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Yields the cache folder of `name`; only one process installs there at a time."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@cache
def java() -> tuple[str, str]:
    """Path and version of a Java ≥ 17: JAVA_HOME's, else the one on the PATH. Raises ServerError."""
    candidates = [Path(home) / "bin" / "java" for home in [os.environ.get("JAVA_HOME")] if home]
    if found := shutil.which("java"):
        candidates.append(Path(found))
    for candidate in candidates:
        answer = subprocess.run([str(candidate), "-version"], capture_output=True, text=True, check=False)
        version = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
        if version and int(re.split(r"\D", version[1])[0]) >= 17:
            return str(candidate), version[1]
    raise ServerError(f"Java 17 or newer is missing. {advice('openjdk-17-jre-headless', 'openjdk@17')}")


def tool(name: str, debian: str, homebrew: str) -> str:
    """Path of a program that must be there; raises ServerError with the command that installs it."""
    if found := shutil.which(name):
        return found
    raise ServerError(f"`{name}` is missing. {advice(debian, homebrew)}")


def debian(name: str, packages: str) -> str:
    """Path of a program, installed from Debian's packages when it is missing and we are root; raises ServerError."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if found := shutil.which(name, path=path):
        return found
    if sys.platform == "darwin" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerError(f"`{name}` is missing. It needs Debian: run `apt-get install {packages}` as root.")
    with step(f"installing Debian's {packages}"), locked("apt") as folder:
        # Packages would start system-wide services; the run level of no service keeps them to their files.
        environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        run(["apt-get", "update", "-qq"], folder / "update.log")
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages.split()]
        run(command, folder / f"{name}.log", environment)
    if found := shutil.which(name, path=path):
        return found
    raise ServerError(f"`{name}` is not found on the PATH or in /usr/sbin after installing {packages}.")


def advice(debian: str, homebrew: str) -> str:
    """The command that installs a package here."""
    return f"Run `brew install {homebrew}`." if sys.platform == "darwin" else f"Run `apt-get install {debian}` as root."


def run(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs an installer with its output in `log`; raises ServerError with the log's end when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        code = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        ).returncode
    if code:
        raise ServerError(f"`{' '.join(command)}` ended with {code}. The end of {log}:\n{log_tail(log)}")
