"""Building the web UI, only when its sources changed since the last build."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from spinner_servers.install import advice, run
from spinner_servers.process import ServerError

_IGNORED = {"node_modules", "dist", "test-results", "playwright-report", "coverage", "tests", "e2e"}


def folder(root: Path) -> Path:
    """Where the UI's sources are in a checkout."""
    return root / "services" / "webgateway" / "ui"


def is_current(root: Path) -> bool:
    """True when `dist` was built from the sources as they are."""
    stamp = folder(root) / "dist" / ".stamp"
    return stamp.exists() and stamp.read_text() == _hash(folder(root))


def build(root: Path, log: Path) -> None:
    """Installs the locked packages if they changed and builds `dist`. Blocks; raises ServerError."""
    npm = shutil.which("npm")
    if npm is None:
        raise ServerError(f"Node.js ≥ 20 with npm is missing. {advice('nodejs npm', 'node')}")
    source = folder(root)
    installed = source / "node_modules" / ".spinner-lock"
    lock = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != lock:
        run([npm, "--prefix", str(source), "ci", "--no-audit", "--no-fund"], log)
        installed.write_text(lock)
    run([npm, "--prefix", str(source), "run", "build"], log)
    (source / "dist" / ".stamp").write_text(_hash(source))


def _hash(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(source)):
        digest.update(str(path.relative_to(source)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(top: Path) -> Iterator[Path]:
    for path in top.iterdir():
        if path.name in _IGNORED or path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _sources(path)
        elif not path.name.endswith(".tsbuildinfo"):
            yield path
