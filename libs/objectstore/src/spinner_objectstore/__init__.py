"""The object store: a folder or S3 behind one contract."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spinner_objectstore.interface import AlreadyExists, NotFound, ObjectStore, Stat, Unavailable

__all__ = ["AlreadyExists", "NotFound", "ObjectStore", "Stat", "Unavailable", "open_store"]


def open_store(url: str, s3_endpoint: str | None = None, fsync: bool = False) -> ObjectStore:
    """The store behind `file:///path` or `s3://bucket/prefix`.

    `s3_endpoint` defaults to SPINNER_S3_ENDPOINT, then AWS. Raises ValueError for another kind of URL, Unavailable.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        from spinner_objectstore.folder import FolderStore

        return FolderStore(Path(unquote(parts.path)), fsync)
    if parts.scheme == "s3" and parts.netloc:
        from spinner_objectstore.s3 import S3Store

        endpoint = s3_endpoint or os.environ.get("SPINNER_S3_ENDPOINT") or None
        return S3Store(parts.netloc, unquote(parts.path).strip("/"), endpoint)
    raise ValueError(f"{url!r} is no object store: file:///path or s3://bucket/prefix was expected")
