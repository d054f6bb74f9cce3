"""What a worker makes once and later workers use again: unpacked bundles and installed packages.

    <cache>/<kind>/<name>/     made under another name and renamed: whole or absent
    <cache>/<kind>/<name>.lock

Workers of several pods may share a cache (a volume of the node): one makes an entry, the others wait for it. An entry
is touched when it is used, and whoever uses it holds a shared lock (flock) on its folder while it lives. When one is
made, those that nobody used for a week go, and the longest unused ones while the entries of a kind are larger together
than SPINNER_CACHE_BYTES (10 GiB; 0: no bound). That needs the exclusive lock, so it only hits what nobody uses. An
entry's size is in its lock file.
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

Maker = Callable[[Path], None]
DEFAULT_BYTES = 10 << 30
_UNUSED_SECONDS = 7 * 86_400
_MAKING, _GOING = ".making-", ".going-"


def default_folder() -> Path:
    """SPINNER_CACHE; else a private folder of this user among the temporary ones."""
    if stated := os.environ.get("SPINNER_CACHE"):
        return Path(stated)
    folder = Path(tempfile.gettempdir()) / f"spinner-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; set SPINNER_CACHE to a folder of your own")
    return folder


def entry(cache: Path, kind: str, name: str, make: Maker) -> Path:
    """The folder of an entry; ``make(folder)`` fills a new one. It stays while this process lives.

    Blocks; raises what ``make`` raises, and OSError.
    """
    return held_entry(cache, kind, name, make)[0]


def held_entry(cache: Path, kind: str, name: str, make: Maker) -> tuple[Path, int]:
    """The folder as of :func:`entry`, which stays until the descriptor is closed."""
    target = cache / kind / name
    if (held := hold(target)) is not None:
        return target, held
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with (target.parent / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=_MAKING))
                try:
                    make(fresh)
                    fresh.chmod(0o755)
                    lock.truncate(0)
                    lock.write(str(_size(fresh)))
                    fresh.rename(target)
                finally:
                    shutil.rmtree(fresh, ignore_errors=True)
            held = hold(target)
        if held is not None:
            bound(target.parent, int(os.environ.get("SPINNER_CACHE_BYTES") or DEFAULT_BYTES))
            return target, held


def bound(folder: Path, most_bytes: int) -> int:
    """Removes entries of a kind that are unused for a week or too large together; returns how many. Blocks."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.name.startswith(_GOING):
                    found.append((path.stat().st_mtime, path, _known_size(path)))
    left, now, removed = sum(size for _, _, size in found), time.time(), 0
    for used, path, size in sorted(found):
        if now - used <= _UNUSED_SECONDS and not (most_bytes and left > most_bytes):
            break
        if path.name.startswith(_MAKING) and now - used <= _UNUSED_SECONDS:
            continue
        if _remove(path):
            left, removed = left - size, removed + 1
    return removed


def hold(folder: Path) -> int | None:
    """Uses an entry: it is not removed until the descriptor is closed, here and in processes that are forked from here.

    None: it isn't there.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    with contextlib.suppress(OSError):  # file systems without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    with contextlib.suppress(OSError):  # another user's, or read-only: its maker keeps it
        os.utime(folder)
    with contextlib.suppress(OSError):
        if folder.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _remove(path: Path) -> bool:
    """Removes an entry unless somebody uses it."""
    going = path.with_name(f"{_GOING}{os.getpid()}-{time.monotonic_ns()}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(going)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(going, ignore_errors=True)
    return True


def _known_size(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.with_name(f"{path.name}.lock").read_text())
    return _size(path)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
