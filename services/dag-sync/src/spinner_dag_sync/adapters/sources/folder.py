"""A folder on this machine. A look costs one stat a file; contents are read only when time, size or inode changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from spinner_dag_sync.adapters.sources.base import MAX_FILES, Listing, SourceFile, bounded, wanted
from spinner_dag_sync.domain.errors import BundleError


class FolderSource:
    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self) -> Listing:
        files: dict[str, SourceFile] = {}
        try:
            self._scan(self._root, "", files)
        except FileNotFoundError:
            fix = "Create the folder, or correct `path` of the bundle."
            raise BundleError("BundleNotFound", f"There is no folder {self._root}", fix) from None
        except OSError as error:
            fix = "Make it a folder that the service may read."
            raise BundleError("BundleUnreadable", f"{self._root} can't be read: {error.strerror}", fix) from error
        return bounded(str(self._root), Listing(files))

    def read(self, listing: Listing, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                try:
                    content = (self._root / path).read_bytes()
                except PermissionError as error:
                    fix = f"Make {self._root / path} readable, or remove it."
                    raise BundleError("BundleUnreadable", f"{path} can't be read", fix) from error
                yield path, content

    def _scan(self, folder: Path, relative: str, files: dict[str, SourceFile]) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                path = f"{relative}{entry.name}"
                if len(files) > MAX_FILES:
                    return
                # Links to folders aren't followed (they may form a circle); links to files are.
                if entry.is_dir(follow_symlinks=False):
                    if wanted(f"{path}/x"):
                        with contextlib.suppress(FileNotFoundError):
                            self._scan(Path(entry.path), f"{path}/", files)
                elif wanted(path) and entry.is_file():
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat()
                        token = f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}-{stat.st_ctime_ns}"
                        files[path] = SourceFile(token, stat.st_size, bool(stat.st_mode & 0o100))
