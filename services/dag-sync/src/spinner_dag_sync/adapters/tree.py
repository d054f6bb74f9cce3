"""The files of a bundle at one version, on this machine, so that what is parsed is what is packed.

One folder a bundle, updated in place between two syncs; a file is read from the source only when its token
changed. Nothing here needs to survive a restart.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

from spinner_dag_sync.adapters.sources.base import Source, SourceFile
from spinner_dag_sync.domain.snapshot import Entry, Snapshot


class Tree:
    def __init__(self, root: Path) -> None:
        """`root` is emptied by its first use: it belongs to the tree."""
        self.root = root
        self._seen: dict[str, SourceFile] = {}
        self._entries: dict[str, Entry] = {}
        root.mkdir(parents=True, exist_ok=True)

    def update(self, source: Source) -> Snapshot:
        """Makes the folder equal to the source. Raises BundleError; the next update then continues."""
        listing = source.list()
        for path in self._entries.keys() - listing.files.keys():
            self._remove(path)
        changed = [path for path, file in listing.files.items() if self._seen.get(path) != file]
        for path, content in source.read(listing, changed):
            self._write(path, content, listing.files[path])
        return Snapshot(dict(self._entries), listing.revision)

    def _write(self, path: str, content: bytes, file: SourceFile) -> None:
        entry = Entry(hashlib.sha256(content).hexdigest(), file.executable)
        if self._entries.get(path) != entry:
            target = self.root / path
            self._make_room(target)
            target.write_bytes(content)
            target.chmod(0o755 if file.executable else 0o644)
            self._entries[path] = entry
        self._seen[path] = file

    def _make_room(self, target: Path) -> None:
        """A folder may now stand where a file was, and the other way round."""
        for parent in reversed(target.relative_to(self.root).parents):
            if (self.root / parent).is_file():
                (self.root / parent).unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if target.is_dir():
                _remove_empty(target, self.root)
            else:
                target.unlink()

    def _remove(self, path: str) -> None:
        del self._entries[path]
        self._seen.pop(path, None)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self.root / path).unlink()
        _remove_empty((self.root / path).parent, self.root)


def pack(root: Path, files: Mapping[str, Entry]) -> bytes:
    """Returns the files as tar + zstd; the same bytes for the same files, whenever and wherever."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, entry in sorted(files.items()):
            content = (root / path).read_bytes()
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755 if entry.executable else 0o644
            archive.addfile(info, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=3).compress(buffer.getvalue())


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            os.rmdir(folder)  # noqa: PTH106 - fails for a folder with files, which is the point
        except OSError:
            return
        folder = folder.parent
