"""Which files of a bundle are DAG files.

`.airflowignore` and `.spinnerignore` hold patterns as in .gitignore, for their folder and those below. A Python
file is a candidate when its text has "dag" and "spinner" or "airflow" in it, as in Airflow's safe mode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pathspec

IGNORE_FILES = (".airflowignore", ".spinnerignore")
_SKIPPED_FOLDERS = {"__pycache__", "node_modules", "venv", "plugins"}


def dag_files(root: Path) -> list[str]:
    """Returns the candidates below `root` (or `root` itself when it is a file's folder), sorted, with `/`."""
    return sorted(path for path in python_files(root) if is_candidate(root / path))


def python_files(root: Path) -> Iterator[str]:
    """Yields the Python files below `root` that no ignore file and no naming rule excludes."""
    specs: dict[str, list[tuple[str, pathspec.GitIgnoreSpec]]] = {}
    for folder, folders, names in os.walk(root):
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        relative = "" if relative == "." else relative
        inherited = specs.get(relative.rpartition("/")[0], []) if relative else []
        own = [(relative, spec) for name in IGNORE_FILES if name in names and (spec := _read(Path(folder, name)))]
        specs[relative] = inherited + own
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED_FOLDERS
            and not _ignored(_join(relative, name) + "/", specs[relative])
        )
        for name in names:
            path = _join(relative, name)
            if name.endswith(".py") and not name.startswith(".") and not _ignored(path, specs[relative]):
                yield path


def is_candidate(path: Path) -> bool:
    """Tells whether a file's text looks like a DAG file; an unreadable one does, so that its error is shown."""
    try:
        text = path.read_bytes().lower()
    except OSError:
        return True
    return b"dag" in text and (b"spinner" in text or b"airflow" in text)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _read(path: Path) -> pathspec.GitIgnoreSpec | None:
    try:
        return pathspec.GitIgnoreSpec.from_lines(path.read_text("utf-8").splitlines())
    except (OSError, ValueError):
        return None


def _ignored(path: str, specs: list[tuple[str, pathspec.GitIgnoreSpec]]) -> bool:
    return any(spec.match_file(path[len(base) + 1 :] if base else path) for base, spec in specs)
