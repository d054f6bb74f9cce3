"""The object store as its users see it.

Implemented by `folder.FolderStore` and `s3.S3Store`, which pass one contract suite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol


class NotFound(KeyError):  # noqa: N818 - an answer
    """No object has this key."""

    def __str__(self) -> str:
        return str(self.args[0])


class AlreadyExists(Exception):  # noqa: N818 - an answer
    """`if_none_match` was asked and another writer was first."""


class Unavailable(Exception):  # noqa: N818 - named for the next move: try again
    """The store can't be reached or refused; says which store and why."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of an object without reading it. `etag` changes when the content does."""

    key: str
    size_bytes: int
    modified_time: datetime
    etag: str


class ObjectStore(Protocol):
    """Objects by key. Thread-safe. A reader sees an object whole or not at all.

    Keys are relative paths, as `logs/dag/run/task/0/1.log`; ValueError for empty parts, `.`, `..`, a leading `/`,
    NUL, or more than 900 bytes. No key may be the folder of another (`a` and `a/b`). All methods block and may raise
    Unavailable.
    """

    url: str

    def put(self, key: str, content: bytes | Path, if_none_match: bool = False) -> None:
        """Writes bytes, or a file's content. `if_none_match`: raises AlreadyExists for all but one writer."""

    def put_file(self, key: str, path: Path) -> None:
        """As `put(key, path)`."""

    def get(self, key: str) -> bytes:
        """Raises NotFound."""

    def get_range(self, key: str, start: int, end: int | None = None) -> bytes:
        """Bytes `start` up to `end` (not included; None: all); short or empty past the end. Raises NotFound."""

    def open(self, key: str) -> BinaryIO:
        """A stream to read once; close it. Raises NotFound."""

    def stat(self, key: str) -> Stat:
        """Raises NotFound."""

    def exists(self, key: str) -> bool: ...

    def download_url(self, key: str, seconds: int) -> str | None:
        """An HTTP address at which anyone may read the object for `seconds`; None when the store has none."""

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Objects whose key starts with `prefix` (text, not folder), sorted by key."""

    def delete(self, key: str) -> None:
        """Idempotent."""

    def delete_prefix(self, prefix: str) -> int:
        """Deletes all that `list(prefix)` gives; returns how many. Refuses an empty prefix with ValueError."""


def checked(key: str) -> str:
    """The key, or ValueError when no store should take it."""
    parts = key.split("/")
    if not key or len(key.encode()) > 900 or "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{key!r} is no object key: a relative path without empty, '.' or '..' parts, up to 900 bytes")
    return key
