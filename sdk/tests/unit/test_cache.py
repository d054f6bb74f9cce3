"""What workers keep for later ones: whole entries, bounded, and never taken from who uses them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spinner.runtime import cache

USES = """
import sys
from pathlib import Path
from spinner.runtime import cache
folder = cache.entry(Path(sys.argv[1]), "packages", sys.argv[2], lambda folder: (folder / "x").write_bytes(b"x" * 1000))
print(folder.name, flush=True)
sys.stdin.read()
"""


class Worker:
    """A process that uses an entry of 1,000 bytes until it is closed."""

    def __init__(self, folder: Path, name: str) -> None:
        environment = {**os.environ, "SPINNER_CACHE_BYTES": "2500"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", USES, str(folder), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == name

    def close(self) -> None:
        self._process.communicate("")


def use(folder: Path, name: str) -> None:
    Worker(folder, name).close()


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "packages").iterdir() if path.is_dir()}


def test_the_longest_unused_go_when_all_are_too_large(tmp_path: Path) -> None:
    use(tmp_path, "a")
    use(tmp_path, "b")
    use(tmp_path, "a")
    use(tmp_path, "c")
    assert names(tmp_path) == {"a", "c"}


def test_what_somebody_uses_stays(tmp_path: Path) -> None:
    user = Worker(tmp_path, "a")
    use(tmp_path, "b")
    use(tmp_path, "c")
    assert names(tmp_path) == {"a", "c"}
    use(tmp_path, "d")
    assert names(tmp_path) == {"a", "d"}
    user.close()
    use(tmp_path, "e")
    assert names(tmp_path) == {"d", "e"}


def test_an_entry_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no such package")

    with pytest.raises(ValueError, match="no such package"):
        cache.entry(tmp_path, "packages", "a", fails)
    assert not names(tmp_path)


def test_without_a_bound_only_what_is_unused_for_a_week_goes(tmp_path: Path) -> None:
    for name, days in (("old", 8), ("new", 6)):
        folder = tmp_path / "packages" / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - days * 86_400,) * 2)
    assert cache.bound(tmp_path / "packages", 0) == 1
    assert names(tmp_path) == {"new"}
