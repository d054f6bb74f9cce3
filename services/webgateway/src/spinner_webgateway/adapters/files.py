"""The object store as the gateway uses it: logs by range, XComs by task, contents that were too large for a record."""

from __future__ import annotations

from typing import Any

import orjson
from spinner_objectstore import NotFound, ObjectStore, Unavailable
from spinner_proto.common.v1 import common_pb2

from spinner_webgateway.domain.problems import ProblemError

XCOM_SHOWN_BYTES = 256 * 1024
CONTENT_LIMIT_BYTES = 16 * 1024 * 1024


class Files:
    """Blocks; thread-safe. A store that is away is a 503 problem."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def size(self, key: str) -> int | None:
        """Returns the object's size in bytes; None when there is none."""
        try:
            return self._store.stat(key).size_bytes
        except (NotFound, ValueError):
            return None
        except Unavailable as error:
            raise _away(error, f"can't be asked for {key}") from error

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Returns a range, shorter at the end, empty when there is no such object."""
        try:
            return self._store.get_range(key, offset, offset + length)
        except (NotFound, ValueError):
            return b""
        except Unavailable as error:
            raise _away(error, f"can't be asked for {key}") from error

    def write(self, key: str, data: bytes) -> None:
        """Stores an object whole; raises the problem when the store doesn't take it."""
        try:
            self._store.put(key, data)
        except Unavailable as error:
            raise _away(error, f"did not take {key}; nothing was changed") from error

    def content(self, inline: bytes, key: str) -> bytes:
        """Returns what is inline, or the object that was too large for it; b"" when it is gone."""
        return inline if not key else self.read(key, 0, CONTENT_LIMIT_BYTES)

    def blob(self, blob: common_pb2.Blob) -> bytes:
        return self.content(blob.inline, blob.object.key)

    def xcoms(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        """Returns the shapes `XComEntry` by key; of a large value only how large it is."""
        prefix = f"xcom/{dag_id}/{run_id}/{task_id}/{map_index}/"
        try:
            found = list(self._store.list(prefix))
        except Unavailable as error:
            raise _away(error, f"can't list {prefix}") from error
        return [
            self._xcom(stat.key, stat.key.removeprefix(prefix).removesuffix(".json"), stat.size_bytes) for stat in found
        ]

    def _xcom(self, key: str, name: str, size: int) -> dict[str, Any]:
        if size > XCOM_SHOWN_BYTES:
            return {"key": name, "value": f"({size:,} bytes, too large to show)", "size": size}
        text = self.read(key, 0, XCOM_SHOWN_BYTES)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = text.decode(errors="replace")
        return {"key": name, "value": value, "size": size}


def _away(error: Unavailable, what: str) -> ProblemError:
    return ProblemError(
        503,
        "OBJECT_STORE_UNAVAILABLE",
        f"The object store {what}: {error}.",
        "Check SPINNER_OBJECT_STORE and that the store runs, then try again.",
    )
