"""A try's files beside its pod: the log that its worker pushes, and the journal of its ends."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from pathlib import Path

from spinner_executor.domain.keys import folder_name


class TryFolders:
    """`<data>/tries/<order partition>/<hash of the try key>`, as the local back end has them."""

    def __init__(self, data: Path, partition_of: Callable[[str], int], pool: Executor) -> None:
        self.partition_of = partition_of
        self._tries = data / "tries"
        self._trash = data / "trash"
        self._pool = pool
        self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)

    def folder(self, key: str) -> Path:
        return self._tries / str(self.partition_of(key)) / folder_name(key)

    def discard(self, key: str) -> None:
        """Renamed at once, so that the key can be used again; deleted later."""
        self._discard(self.folder(key))

    def _discard(self, folder: Path) -> None:
        rubbish = self._trash / secrets.token_hex(8)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(rubbish)
            self._pool.submit(shutil.rmtree, rubbish, ignore_errors=True)

    def sweep(self, partition: int, live: Collection[str]) -> None:
        """Removes the folders of a partition's tries that are not among `live` keys."""
        keep = {folder_name(key) for key in live}
        with contextlib.suppress(FileNotFoundError):
            for folder in (self._tries / str(partition)).iterdir():
                if folder.name not in keep:
                    self._discard(folder)
