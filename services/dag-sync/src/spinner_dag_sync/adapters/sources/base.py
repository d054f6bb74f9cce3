"""The contract of all sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from spinner_dag_sync.domain.errors import BundleError

MAX_FILES = 50_000
MAX_FILE_BYTES = 64 << 20
MAX_BUNDLE_BYTES = 512 << 20
_SKIPPED = {
    "__pycache__",
    "node_modules",
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`token` differs whenever the content does; `size` is in bytes."""

    token: str
    size: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a bundle by their path below its root. `revision` is a git commit, or empty."""

    files: Mapping[str, SourceFile]
    revision: str = ""


class Source(Protocol):
    def list(self) -> Listing:
        """Looks at the source. Raises BundleError. Blocks."""

    def read(self, listing: Listing, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the contents of files of a listing; leaves out those that are gone. Raises BundleError. Blocks."""


def wanted(path: str) -> bool:
    """Tells whether a file of a source belongs to the bundle: no caches, no hidden folders, no odd paths."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        return False
    if any(part in _SKIPPED or (part.startswith(".") and part not in (".", "..")) for part in parts[:-1]):
        return False
    return not path.endswith((".pyc", ".pyo", ".swp", "~")) and parts[-1] != ".DS_Store"


def bounded(name: str, listing: Listing) -> Listing:
    """Returns the listing; raises BundleError when it is larger than a bundle may be."""
    fix = "Keep data out of the bundle, or split it."
    if len(listing.files) > MAX_FILES:
        raise BundleError("BundleTooLarge", f"{name} has more than {MAX_FILES} files", fix)
    total = 0
    for path, file in listing.files.items():
        total += file.size
        if file.size > MAX_FILE_BYTES:
            raise BundleError("BundleTooLarge", f"{path} in {name} is larger than {MAX_FILE_BYTES >> 20} MiB", fix)
    if total > MAX_BUNDLE_BYTES:
        raise BundleError("BundleTooLarge", f"{name} is larger than {MAX_BUNDLE_BYTES >> 20} MiB", fix)
    return listing
