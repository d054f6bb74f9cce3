"""Objects as files of a folder, for one machine.

A file appears by rename (or by hard link when only the first writer may win), so readers never see half of it. A name
that is too long for a file system (255 bytes a part) is refused with ValueError. Files being written are called
`.part-…` and never listed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO

from spinner_objectstore.interface import AlreadyExists, NotFound, Stat, Unavailable, checked

_PART = ".part-"
_counter = count()


class FolderStore:
    """ObjectStore in `root`, which is made when missing.

    `fsync`: objects survive a power failure, not only a crash of the process; costs milliseconds an object.
    """

    def __init__(self, root: Path, fsync: bool = False) -> None:
        self.root = root.absolute()
        self.url = self.root.as_uri()
        self._fsync = fsync
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"object store {self.root}: {error}") from error

    def put(self, key: str, content: bytes | Path, if_none_match: bool = False) -> None:
        target = self._path(key)
        if if_none_match and target.exists():
            raise AlreadyExists(key)
        part = self._written(target, content)
        try:
            if if_none_match:
                os.link(part, target)
                part.unlink()
            else:
                part.replace(target)
        except FileExistsError:
            part.unlink()
            raise AlreadyExists(key) from None
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Unavailable(f"object store {self.root}, {key}: {error}") from error
        if self._fsync:
            _sync(target.parent)

    def put_file(self, key: str, path: Path) -> None:
        self.put(key, path)

    def get(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    def get_range(self, key: str, start: int, end: int | None = None) -> bytes:
        with self.open(key) as stream:
            stream.seek(start)
            return stream.read() if end is None else stream.read(max(0, end - start))

    def open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"no object {key} in {self.url}") from None
        except OSError as error:
            raise Unavailable(f"object store {self.root}, {key}: {error}") from error

    def stat(self, key: str) -> Stat:
        path = self._path(key)
        try:
            if path.is_file():
                return self._stat(key, path)
        except FileNotFoundError:
            pass
        raise NotFound(f"no object {key} in {self.url}")

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def download_url(self, key: str, seconds: int) -> str | None:
        return None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        folder = prefix.rpartition("/")[0]
        if folder:
            checked(folder)
        keys = sorted(
            path.relative_to(self.root).as_posix()
            for path in (self.root / folder).rglob("*")
            if not path.name.startswith(_PART) and path.is_file()
        )
        for key in keys:
            if key.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    yield self._stat(key, self.root / key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
        self._prune(path.parent)

    def delete_prefix(self, prefix: str) -> int:
        if not prefix:
            raise ValueError("an empty prefix would delete the whole store")
        keys = [stat.key for stat in self.list(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def _path(self, key: str) -> Path:
        for part in checked(key).split("/"):
            if len(part.encode()) > 255 or part.startswith(_PART):
                raise ValueError(f"{key!r}: {part[:40]!r} can't be the name of a file here (255 bytes, not {_PART}…)")
        return self.root / key

    def _written(self, target: Path, content: bytes | Path) -> Path:
        """The content in a file of its own beside the target."""
        part = target.with_name(f"{_PART}{os.getpid()}-{threading.get_ident()}-{next(_counter)}")
        for attempt in range(10):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as stream:
                    if isinstance(content, Path):
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, stream, 1 << 20)
                    else:
                        stream.write(content)
                    if self._fsync:
                        stream.flush()
                        os.fsync(stream.fileno())
            except (FileNotFoundError, FileExistsError) as error:
                # `_prune` of another thread or process may have removed the folder just now, even while `mkdir` saw it.
                if attempt == 9 or (isinstance(content, Path) and not content.exists()):
                    raise Unavailable(f"object store {self.root}, {target.name}: {error}") from error
            except OSError as error:
                part.unlink(missing_ok=True) if part.parent.is_dir() else None
                raise Unavailable(f"object store {self.root}, {target.name}: {error}") from error
            else:
                break
        return part

    def _prune(self, folder: Path) -> None:
        """Removes folders that became empty."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _stat(self, key: str, path: Path) -> Stat:
        found = path.stat()
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
        return Stat(key, found.st_size, modified, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
