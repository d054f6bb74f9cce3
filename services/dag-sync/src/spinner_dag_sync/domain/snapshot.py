"""A bundle at one moment: which files it has, with which content, and what each DAG file depends on.

A definition must change whenever the code behind it does, even when its structure stays. So each DAG file has a
*code hash* over: its own content; everything shared (plugins, and Python files that are no DAG files); other
files in its folder and below (queries, configuration); and what the file read while it was parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

_DOCUMENTS = (".md", ".rst")
_IGNORED_IN_HASH = {"tests", "test"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file: lower-case hexadecimal SHA-256 of its content, and whether it may be executed."""

    sha256: str
    executable: bool = False


@dataclass(frozen=True)
class Snapshot:
    """`revision`: a git commit, or empty when the content alone names the version."""

    files: Mapping[str, Entry]
    revision: str = ""

    @cached_property
    def version(self) -> str:
        """The commit, or 16 hexadecimal digits over all paths, contents and modes."""
        if self.revision:
            return self.revision
        lines = (f"{path}\0{entry.sha256}\0{int(entry.executable)}\n" for path, entry in sorted(self.files.items()))
        return digest(lines)[:16]


@dataclass(frozen=True)
class CodeHashes:
    """Code hashes of the DAG files of one snapshot."""

    snapshot: Snapshot
    dag_files: Iterable[str]
    _candidates: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_candidates", frozenset(self.dag_files))

    @cached_property
    def plugins(self) -> str:
        """Hash of what all DAG files share."""
        return self._digest(path for path in self.snapshot.files if self._is_shared(path))

    @cached_property
    def _local(self) -> dict[str, str]:
        below: dict[str, list[str]] = {}
        for path in self.snapshot.files:
            if path in self._candidates or self._is_shared(path) or path.endswith((*_DOCUMENTS, ".py")):
                continue
            folder = path.rpartition("/")[0]
            while True:
                below.setdefault(folder, []).append(path)
                if not folder:
                    break
                folder = folder.rpartition("/")[0]
        return {folder: self._digest(paths) for folder, paths in below.items()}

    def base(self, path: str) -> str:
        """Hash of a DAG file and its surroundings, known before it is parsed."""
        folder = path.rpartition("/")[0]
        return digest((self.snapshot.files[path].sha256, self.plugins, self._local.get(folder, "")))

    def code(self, path: str, dependencies: Iterable[str]) -> str:
        """The code hash, given what the file read."""
        files = self.snapshot.files
        read = (f"{name}\0{files[name].sha256}" for name in sorted(dependencies) if name in files)
        return digest((self.base(path), *read))

    def _is_shared(self, path: str) -> bool:
        if path.startswith("plugins/"):
            return True
        folders = path.split("/")[:-1]
        return path.endswith(".py") and path not in self._candidates and not _IGNORED_IN_HASH.intersection(folders)

    def _digest(self, paths: Iterable[str]) -> str:
        return digest(f"{path}\0{self.snapshot.files[path].sha256}\n" for path in sorted(paths))


def digest(parts: Iterable[str]) -> str:
    """Returns the hexadecimal SHA-256 over texts, each ended by a zero byte."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode())
        total.update(b"\0")
    return total.hexdigest()
