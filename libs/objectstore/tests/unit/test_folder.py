"""What only the folder store has to care about."""

from __future__ import annotations

import threading

import pytest
from spinner_objectstore.folder import FolderStore


def test_deleting_leaves_no_empty_folders_and_does_not_disturb_writers(tmp_path):
    store = FolderStore(tmp_path)
    failures: list[Exception] = []

    def churn(name: str) -> None:
        try:
            for _ in range(200):
                store.put(f"shared/deep/{name}", b"x")
                assert store.get(f"shared/deep/{name}") == b"x"
                store.delete(f"shared/deep/{name}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(tmp_path.iterdir()) == []


def test_unfinished_writes_are_not_listed(tmp_path):
    store = FolderStore(tmp_path, fsync=True)
    store.put("a/b", b"x")
    (tmp_path / "a" / ".part-1-2-3").write_bytes(b"half")
    assert [stat.key for stat in store.list()] == ["a/b"]
    with pytest.raises(ValueError, match="can't be the name"):
        store.get("a/.part-1-2-3")


def test_names_too_long_for_a_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="255 bytes"):
        FolderStore(tmp_path).put("x" * 256, b"")
