"""Where bundles come from. A source lists files with tokens that change when contents do, and reads some of them."""

from __future__ import annotations

from pathlib import Path

from spinner_dag_sync.adapters.sources.base import Listing, Source, SourceFile
from spinner_dag_sync.adapters.sources.folder import FolderSource
from spinner_dag_sync.adapters.sources.git import GitSource
from spinner_dag_sync.adapters.sources.objects import ObjectSource
from spinner_dag_sync.domain.config import Bundle

__all__ = ["FolderSource", "GitSource", "Listing", "ObjectSource", "Source", "SourceFile", "source_of"]


def source_of(bundle: Bundle, work: Path, s3_endpoint: str | None = None) -> Source:
    """Returns the source of a bundle's files; `work` is a folder for its caches."""
    if bundle.kind == "git":
        return GitSource(bundle.url or "", bundle.branch, bundle.subfolder, work / "git")
    if bundle.kind == "object-store":
        return ObjectSource(bundle.url or "", s3_endpoint)
    if bundle.path is None:
        raise ValueError(f"Bundle {bundle.name} has no folder")
    return FolderSource(bundle.path)
