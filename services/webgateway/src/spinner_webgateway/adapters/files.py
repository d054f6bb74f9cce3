"""The object store as the gateway uses it: logs by range, XComs by task, contents that were too large for a record."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from spinner_proto.common.v1 import common_pb2

from spinner_webgateway.domain.problems import ProblemError

XCOM_SHOWN_BYTES = 256 * 1024
CONTENT_LIMIT_BYTES = 16 * 1024 * 1024


class Store(Protocol):
    """What the gateway needs of an object store. Keys lie below the store's root."""

    def size(self, key: str) -> int | None:
        """Returns the object's size in bytes; None when there is none."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Returns a range, shorter at the end; raises KeyError when there is no object."""

    def write(self, key: str, data: bytes) -> None: ...

    def keys(self, prefix: str) -> list[str]:
        """Returns the keys that begin with the prefix."""


class Files:
    """Blocks; thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def size(self, key: str) -> int | None:
        return self._store.size(key)

    def read(self, key: str, offset: int, length: int) -> bytes:
        try:
            return self._store.read(key, offset, length)
        except KeyError:
            return b""

    def write(self, key: str, data: bytes) -> None:
        """Stores an object; raises the 503 problem when the store doesn't take it."""
        try:
            self._store.write(key, data)
        except OSError as error:
            raise ProblemError(
                503,
                "OBJECT_STORE_UNAVAILABLE",
                f"The object store did not take {key}: {error}. Nothing was changed.",
                "Check SPINNER_OBJECT_STORE and that it can be written, then try again.",
            ) from error

    def content(self, inline: bytes, key: str) -> bytes:
        """Returns what is inline, or the object that was too large for it; b"" when it is gone."""
        return inline if not key else self.read(key, 0, CONTENT_LIMIT_BYTES)

    def blob(self, blob: common_pb2.Blob) -> bytes:
        return self.content(blob.inline, blob.object.key)

    def xcoms(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        """Returns the shapes `XComEntry` by key; of a large value only how large it is."""
        prefix = f"xcom/{dag_id}/{run_id}/{task_id}/{map_index}/"
        return [self._xcom(key, key.removeprefix(prefix).removesuffix(".json")) for key in self._store.keys(prefix)]

    def _xcom(self, key: str, name: str) -> dict[str, Any]:
        size = self._store.size(key) or 0
        if size > XCOM_SHOWN_BYTES:
            return {"key": name, "value": f"({size:,} bytes, too large to show)", "size": size}
        text = self.read(key, 0, XCOM_SHOWN_BYTES)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text.decode(errors="replace")
        return {"key": name, "value": value, "size": size}
