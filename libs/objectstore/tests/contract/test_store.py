"""What both object stores promise."""

from __future__ import annotations

import threading
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from spinner_objectstore import AlreadyExists, NotFound, ObjectStore, Unavailable, open_store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    if request.param == "folder":
        return open_store((tmp_path / "ob jects").as_uri())
    server = request.getfixturevalue("s3_endpoint")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server["access_key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server["secret_key"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = open_store(f"s3://b{uuid.uuid4().hex}/some/prefix", server["url"])
    made.make_bucket()
    return made


def test_objects_come_back(store, tmp_path):
    store.put("logs/d/r.log", b"first")
    store.put("logs/d/r.log", b"second")
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 80_000)  # 20 MB: several parts
    store.put_file("bundles/big", big)
    store.put("empty", b"")
    assert store.get("logs/d/r.log") == b"second"
    assert store.get("bundles/big") == big.read_bytes()
    assert store.get("empty") == b""
    with store.open("logs/d/r.log") as stream:
        assert stream.read(3) == b"sec"
    assert store.exists("empty")
    assert not store.exists("logs")
    assert store.stat("bundles/big").size_bytes == 20_480_000
    before = store.stat("logs/d/r.log")
    store.put("logs/d/r.log", b"third!")
    after = store.stat("logs/d/r.log")
    assert (after.key, after.size_bytes) == ("logs/d/r.log", 6)
    assert after.etag != before.etag
    assert after.modified_time >= before.modified_time


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 4, b"0123"), (3, None, b"3456789"), (8, 100, b"89"), (10, 12, b""), (50, None, b""), (4, 4, b"")],
)
def test_ranges(store, start, end, expected):
    store.put("digits", b"0123456789")
    assert store.get_range("digits", start, end) == expected


def test_what_is_missing_is_named(store):
    for call in (store.get, store.stat, store.open, lambda key: store.get_range(key, 0, 2)):
        with pytest.raises(NotFound, match="no object a/b"):
            call("a/b")
    store.delete("a/b")  # idempotent


def test_listing_and_deleting_by_prefix(store):
    for key in ("x/b", "x/a", "xy", "y"):
        store.put(key, key.encode())
    listed = [stat.key for stat in store.list("x")]
    assert listed == sorted(listed)
    assert {"x/a", "x/b", "xy"} <= set(listed)
    assert [stat.key for stat in store.list("x/b")] == ["x/b"]
    assert [stat.size_bytes for stat in store.list("y")] == [1]
    assert list(store.list("nothing/here")) == []
    assert store.delete_prefix("x/") == len(listed) - 1
    assert [stat.key for stat in store.list()] == ["xy", "y"]
    with pytest.raises(ValueError, match="whole store"):
        store.delete_prefix("")


def test_only_one_writer_is_first(store):
    gate = threading.Barrier(8)

    def attempt(number: int) -> int | None:
        gate.wait()
        try:
            store.put("grant", str(number).encode(), if_none_match=True)
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(8)) if number is not None]
    assert len(winners) == 1
    assert store.get("grant") == str(winners[0]).encode()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "..", "a//b", "a/./b", "a/", "nul\0", "k" * 901])
def test_keys_that_lead_elsewhere_are_refused(store, key):
    for call in (store.get, store.exists, store.delete, lambda key: store.put(key, b"x")):
        with pytest.raises(ValueError, match="no object key"):
            call(key)


def test_readers_never_see_half_an_object(store):
    bodies = [bytes([number]) * 200_000 for number in range(2)]
    store.put("k", bodies[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            store.put("k", bodies[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not done.is_set() or reads == 0:
        assert store.get("k") in bodies
        reads += 1
    writer.join()


def test_a_store_out_of_reach_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unavailable, match="s3://nowhere"):
        open_store("s3://nowhere", "http://127.0.0.1:9").get("a")
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file"):
        open_store((tmp_path / "file" / "below").as_uri())


@pytest.mark.parametrize("url", ["", "objects", "file://", "file://host/path", "s3://", "http://x/y"])
def test_other_urls_are_explained(url):
    with pytest.raises(ValueError, match="was expected"):
        open_store(url)


def test_an_address_to_download_from_needs_no_credentials_or_is_none(store):
    store.put("bundles/a.tar", b"content")
    url = store.download_url("bundles/a.tar", 60)
    if url is None:
        assert store.url.startswith("file:")
        return
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"content"
    assert store.download_url("bundles/a.tar", 60) != store.download_url("bundles/b.tar", 60)
