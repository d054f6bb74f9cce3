"""Bundles unpacked once a version: `<cache>/<bundle>/<version>/`, made under a temporary name and renamed.

Several executors may share a cache: whoever renames first wins, the others use what is there. Members that would
leave the folder, and links out of it, are refused.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from spinner.runtime.bundle import entry_name, unpack
from spinner_proto.common.v1.common_pb2 import BundleRef


class BundleUnavailable(Exception):  # noqa: N818 - an answer
    """A bundle could not be fetched or unpacked. Says which and why."""


class Fetches(Protocol):
    def get(self, key: str) -> bytes: ...


class BundleCache:
    """Runs on the event loop; fetches and unpacks in `pool`."""

    def __init__(self, folder: Path, store: Fetches, pool: Executor) -> None:
        self._folder = folder
        self._store = store
        self._pool = pool
        self._ready: dict[str, Path] = {}
        self._making: dict[str, asyncio.Future[Path]] = {}

    @property
    def cache(self) -> Path:
        """The folder that this cache is the "bundles" of; workers keep installed packages beside it."""
        return self._folder.parent

    def path_now(self, bundle: BundleRef) -> Path | None:
        """The folder of a bundle that is unpacked already."""
        return self._ready.get(bundle.object_key)

    async def path(self, bundle: BundleRef) -> Path:
        """Returns the folder of the unpacked bundle; raises BundleUnavailable."""
        key = bundle.object_key
        if key in self._ready:
            return self._ready[key]
        if not key:
            raise BundleUnavailable(f"the order names no packed bundle for {bundle.name!r}; publish it with dag-sync")
        making = self._making.get(key)
        if making is None:
            making = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._pool, self._make, bundle))
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        path = await asyncio.shield(making)
        self._ready[key] = path
        return path

    def _make(self, bundle: BundleRef) -> Path:
        target = self._folder / entry_name(bundle)
        if target.is_dir():
            return target
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._folder, prefix=".unpacking-"))
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
        return target
