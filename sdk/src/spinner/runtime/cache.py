"""What a worker makes once and later workers use again: unpacked bundles and installed packages.

    <cache>/<kind>/<name>/     made under another name and renamed: whole or absent
    <cache>/<kind>/<name>.lock

Workers of several pods may share a cache (a volume of the node): one makes an entry, the others wait for it. An entry
is touched when it is used; those that nobody used for a week go when a new one is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_UNUSED_SECONDS = 7 * 86_400


def default_folder() -> Path:
    """SPINNER_CACHE; else a private folder of this user among the temporary ones."""
    if stated := os.environ.get("SPINNER_CACHE"):
        return Path(stated)
    folder = Path(tempfile.gettempdir()) / f"spinner-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; set SPINNER_CACHE to a folder of your own")
    return folder


def entry(cache: Path, kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of an entry; ``make(folder)`` fills a new one. Blocks; raises what ``make`` raises, and OSError."""
    target = cache / kind / name
    if target.is_dir():
        _touch(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _forget_unused(target.parent)
            fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".making-"))
            try:
                make(fresh)
                fresh.chmod(0o755)
                fresh.rename(target)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    _touch(target)
    return target


def _touch(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, or read-only: its maker keeps it
        os.utime(folder)


def _forget_unused(kind: Path) -> None:
    for folder in kind.iterdir():
        with contextlib.suppress(OSError):
            if folder.is_dir() and time.time() - folder.stat().st_mtime > _UNUSED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
