"""Bundles unpacked once a version: `<cache>/<bundle>-<version>-<hash>/`, made under a temporary name and renamed.

Several executors may share a cache: whoever renames first wins, the others use what is there. Members that would
leave the folder, and links out of it, are refused.

What was not used for long, and the longest unused when all together are too large, is evicted. Whoever uses a bundle
holds a shared lock (flock) on its folder: executors from the moment they hand its path out, workers and readers of DAG
files while they live, which may be longer. Eviction needs the exclusive lock, so it can only hit what nobody uses. A
folder's modification time says when it was last used; nothing else changes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spinner.runtime.bundle import entry_name, unpack
from spinner_proto.common.v1.common_pb2 import BundleRef

_log = logging.getLogger(__name__)
_TOUCH_SECONDS = 60.0
_RUBBISH_SECONDS = 3600.0
_UNPACKING, _EVICTED = ".unpacking-", ".evicted-"


class BundleUnavailable(Exception):  # noqa: N818 - an answer
    """A bundle could not be fetched or unpacked. Says which and why."""


class Fetches(Protocol):
    def get(self, key: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept: bytes of all bundles together, and seconds since the last use. 0: no limit."""

    bytes: int = 10 << 30
    seconds: float = 7 * 86400.0


@dataclass(slots=True)
class _Held:
    path: Path
    lock: int
    touched: float


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    size: int
    used: float


class BundleCache:
    """Runs on the event loop; fetches, unpacks and evicts in `pool`."""

    def __init__(self, folder: Path, store: Fetches, pool: Executor, limits: Limits | None = None) -> None:
        self._folder = folder
        self._store = store
        self._pool = pool
        self._limits = limits or Limits()
        self._ready: dict[str, _Held] = {}
        self._making: dict[str, asyncio.Future[_Held]] = {}
        # A version's content never changes, so neither does its size.
        self._sizes: dict[str, int] = {}

    @property
    def cache(self) -> Path:
        """The folder that this cache is the "bundles" of; workers keep installed packages beside it."""
        return self._folder.parent

    def path_now(self, bundle: BundleRef) -> Path | None:
        """The folder of a bundle that is unpacked already."""
        held = self._ready.get(bundle.object_key)
        if held is None:
            return None
        now = time.time()
        if now - held.touched > _TOUCH_SECONDS:
            held.touched = now
            with contextlib.suppress(OSError):
                os.utime(held.path)
        return held.path

    async def path(self, bundle: BundleRef) -> Path:
        """Returns the folder of the unpacked bundle; raises BundleUnavailable."""
        key = bundle.object_key
        if (path := self.path_now(bundle)) is not None:
            return path
        if not key:
            raise BundleUnavailable(f"the order names no packed bundle for {bundle.name!r}; publish it with dag-sync")
        making = self._making.get(key)
        if making is None:
            making = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._pool, self._make, bundle))
            self._making[key] = making
            making.add_done_callback(lambda done: self._made(key, done))
        return (await asyncio.shield(making)).path

    def _made(self, key: str, done: asyncio.Future[_Held]) -> None:
        self._making.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._ready[key] = done.result()

    def _make(self, bundle: BundleRef) -> _Held:
        target = self._folder / entry_name(bundle)
        while True:
            if (held := _hold(target)) is not None:
                return held
            self._unpack(bundle, target)

    def _unpack(self, bundle: BundleRef, target: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._folder, prefix=_UNPACKING))
        try:
            unpack(self._store.get(bundle.object_key), temporary)
            temporary.chmod(0o755)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        except Exception as error:
            raise BundleUnavailable(
                f"bundle {bundle.name} at {bundle.version} ({bundle.object_key}): {error}"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    async def evict(self, in_use: Callable[[], Collection[str]]) -> int:
        """Removes what is over the limits; returns how many. `in_use()`: object keys that live tries name."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, self._look)
        left, now, evicted = sum(each.size for each in found), time.time(), 0
        keys = {held.path: key for key, held in self._ready.items()}
        for each in sorted(found, key=lambda found: found.used):
            old = self._limits.seconds and now - each.used > self._limits.seconds
            if not old and not (self._limits.bytes and left > self._limits.bytes):
                break
            key = keys.get(each.path)
            if key is not None:
                # Nobody waits in between: what is handed out from here on is looked up anew.
                if key in in_use() or key not in self._ready:
                    continue
                os.close(self._ready.pop(key).lock)
            if await loop.run_in_executor(self._pool, self._remove, each.path):
                left, evicted = left - each.size, evicted + 1
                _log.info(
                    "bundle %s is evicted: unused for %.0f s, %d bytes", each.path.name, now - each.used, each.size
                )
        return evicted

    def _look(self) -> list[_Found]:
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    used = path.stat().st_mtime
                    if path.name.startswith((_UNPACKING, _EVICTED)):
                        if time.time() - used > _RUBBISH_SECONDS:
                            shutil.rmtree(path, ignore_errors=True)
                        continue
                    if path.name not in self._sizes:
                        self._sizes[path.name] = sum(file.lstat().st_size for file in path.rglob("*"))
                    found.append(_Found(path, self._sizes[path.name], used))
        return found

    def _remove(self, path: Path) -> bool:
        """Removes a folder unless somebody uses it."""
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        rubbish = self._folder / f"{_EVICTED}{os.getpid()}-{time.monotonic_ns()}"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(rubbish)
        except OSError:
            return False
        finally:
            os.close(lock)
        shutil.rmtree(rubbish, ignore_errors=True)
        return True

    def close(self) -> None:
        """Gives all up; workers keep theirs."""
        for held in self._ready.values():
            os.close(held.lock)
        self._ready.clear()


def _hold(path: Path) -> _Held | None:
    """Locks a folder against eviction; None when it isn't there. Blocks while it is being evicted."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(path)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return _Held(path, lock, time.time())
    except OSError:
        pass
    os.close(lock)
    return None
