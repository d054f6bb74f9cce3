"""Objects below a prefix of an object store: S3 or a folder behind the same contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from spinner_objectstore import NotFound, ObjectStore, Unavailable, open_store

from spinner_dag_sync.adapters.sources.base import Listing, SourceFile, bounded, wanted
from spinner_dag_sync.domain.errors import BundleError

_PARALLEL = 8
_FIX = "Correct `url` of the bundle, and see that the service's keys may list and read it."


class ObjectSource:
    def __init__(self, url: str, s3_endpoint: str | None = None) -> None:
        self._url, self._endpoint = url, s3_endpoint
        self._opened: ObjectStore | None = None

    def list(self) -> Listing:
        try:
            files = {
                stat.key: SourceFile(f"{stat.etag}-{stat.size_bytes}", stat.size_bytes)
                for stat in self._store().list()
                if wanted(stat.key)
            }
        except Unavailable as error:
            raise BundleError("ObjectStoreError", str(error), _FIX) from error
        if not files:
            # An empty listing is far more often a wrong prefix than a wish to remove every DAG.
            raise BundleError("BundleNotFound", f"There is no object below {self._url}", _FIX)
        return bounded(self._url, Listing(files))

    def read(self, listing: Listing, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        store = self._store()

        def fetch(path: str) -> tuple[str, bytes] | None:
            with contextlib.suppress(NotFound):
                return path, store.get(path)
            return None

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="objects") as pool:
            try:
                yield from (found for found in pool.map(fetch, paths) if found is not None)
            except Unavailable as error:
                raise BundleError("ObjectStoreError", str(error), _FIX) from error

    def _store(self) -> ObjectStore:
        if self._opened is None:
            try:
                self._opened = open_store(self._url, self._endpoint)
            except ValueError as error:
                raise BundleError(
                    "BundleConfigError", str(error), "Write file:///folder or s3://bucket/prefix."
                ) from error
        return self._opened
