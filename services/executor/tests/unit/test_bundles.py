"""Unpacked bundles go when they are too many or too old, and never while somebody uses them."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zstandard
from spinner_executor.adapters.bundles import BundleCache, Limits
from spinner_proto.common.v1.common_pb2 import BundleRef

MIB = 1 << 20


class Store:
    def __init__(self) -> None:
        self.fetched: list[str] = []

    def get(self, key: str) -> bytes:
        self.fetched.append(key)
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            info = tarfile.TarInfo("dags/data.bin")
            info.size = MIB
            archive.addfile(info, io.BytesIO(bytes(MIB)))
        return zstandard.compress(raw.getvalue())


def bundle(version: int) -> BundleRef:
    return BundleRef(name="main", version=str(version), object_key=f"bundles/main/{version}.tar.zst")


Body = Callable[[BundleCache, Store], Coroutine[Any, Any, None]]


@pytest.fixture
def with_cache(tmp_path: Path) -> Callable[[Body, Limits], None]:
    def run(body: Body, limits: Limits) -> None:
        async def inside() -> None:
            store = Store()
            with ThreadPoolExecutor(4) as pool:
                cache = BundleCache(tmp_path / "bundles", store, pool, limits)
                await body(cache, store)
                cache.close()

        asyncio.run(inside())

    return run


async def unpacked(cache: BundleCache, count: int) -> list[Path]:
    """Versions 0 …, used an hour after each other."""
    paths = [await cache.path(bundle(version)) for version in range(count)]
    for age, path in enumerate(reversed(paths)):
        moment = time.time() - 3600 * age
        os.utime(path, (moment, moment))
    return paths


def test_the_longest_unused_go_until_all_fit(with_cache: Callable[[Body, Limits], None]) -> None:
    async def body(cache: BundleCache, store: Store) -> None:
        paths = await unpacked(cache, 6)
        in_use = {bundle(0).object_key}
        assert await cache.evict(lambda: in_use) == 3
        assert [path.is_dir() for path in paths] == [True, False, False, False, True, True]
        assert cache.path_now(bundle(1)) is None and cache.path_now(bundle(0)) == paths[0]
        assert await cache.path(bundle(1)) == paths[1] and paths[1].is_dir()
        assert store.fetched.count(bundle(1).object_key) == 2 and store.fetched.count(bundle(4).object_key) == 1

    with_cache(body, Limits(3 * MIB + MIB // 2, 0))


def test_the_old_go_and_the_used_stay_young(with_cache: Callable[[Body, Limits], None]) -> None:
    async def body(cache: BundleCache, store: Store) -> None:
        paths = await unpacked(cache, 4)
        cache._ready[bundle(0).object_key].touched = 0.0  # as if an hour had passed
        assert cache.path_now(bundle(0)) == paths[0]
        assert await cache.evict(set) == 1
        assert [path.is_dir() for path in paths] == [True, False, True, True]

    with_cache(body, Limits(0, 1.5 * 3600))


def test_neither_a_living_worker_nor_another_executor_loses_its_bundle(
    with_cache: Callable[[Body, Limits], None], tmp_path: Path
) -> None:
    async def body(cache: BundleCache, store: Store) -> None:
        paths = await unpacked(cache, 3)
        code = (
            f"import sys; from spinner.runtime.bundle import keep; keep({str(paths[0])!r}); print(flush=True); input()"
        )
        worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert worker.stdout is not None and worker.stdout.readline()
            with ThreadPoolExecutor(1) as pool:
                other = BundleCache(tmp_path / "bundles", store, pool)
                assert await other.path(bundle(1)) == paths[1]
                os.utime(paths[1], (1, 1))
                assert await cache.evict(set) == 1
                assert [path.is_dir() for path in paths] == [True, True, False]
                other.close()
        finally:
            worker.kill()
            worker.wait()
        assert await cache.evict(set) == 2

    with_cache(body, Limits(1, 0))


def test_whoever_asks_during_an_eviction_gets_a_whole_bundle(with_cache: Callable[[Body, Limits], None]) -> None:
    async def body(cache: BundleCache, store: Store) -> None:
        evicted, live = 0, set[str]()

        async def ask() -> None:
            while evicted < 5:
                live.add(bundle(0).object_key)
                path = await cache.path(bundle(0))
                assert (path / "dags" / "data.bin").stat().st_size == MIB
                live.clear()
                await asyncio.sleep(0)

        asking = asyncio.ensure_future(ask())
        while not asking.done():
            evicted += await cache.evict(lambda: live)
        await asking

    with_cache(body, Limits(1, 0))


def test_what_a_dead_executor_left_half_done_is_removed(
    with_cache: Callable[[Body, Limits], None], tmp_path: Path
) -> None:
    async def body(cache: BundleCache, store: Store) -> None:
        for name in (".unpacking-x", ".evicted-1"):
            (tmp_path / "bundles" / name).mkdir(parents=True)
            os.utime(tmp_path / "bundles" / name, (1, 1))
        await cache.path(bundle(0))
        assert await cache.evict(set) == 0
        assert len(list((tmp_path / "bundles").iterdir())) == 1

    with_cache(body, Limits())
