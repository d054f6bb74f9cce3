"""C3: bad news is never kept, good news never waited for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from spinner_executor.api import readiness
from spinner_executor.api.readiness import Readiness


class Scene:
    """Stands for the context, the object store, the view of variables, and the chain of secret back ends."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPoolExecutor(4)
        self.objects = self
        self.ready = self
        self.asked = 0
        self.fails = ""
        self.hang = 0.0

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        return self.loop.create_task(coroutine)

    def is_set(self) -> bool:
        return True

    def exists(self, key: str) -> bool:
        import time

        self.asked += 1
        time.sleep(self.hang)
        if self.fails:
            raise OSError(self.fails)
        return False

    def variable(self, name: str) -> None:
        return None


def made(scene: Scene) -> Readiness:
    return Readiness(scene, scene, scene)  # type: ignore[arg-type]


def test_good_answers_are_kept_for_a_moment() -> None:
    async def run() -> None:
        scene = Scene()
        looking = made(scene)
        for _ in range(3):
            assert [(check.name, check.ready) for check in await looking.checks()] == [
                ("object store", True),
                ("secret store", True),
            ]
        assert scene.asked == 1

    asyncio.run(run())


def test_bad_answers_say_why_and_are_asked_for_again() -> None:
    async def run() -> None:
        scene = Scene()
        looking = made(scene)
        scene.fails = "connection refused"
        store, secrets = await looking.checks()
        assert not store.ready and store.message == "connection refused" and secrets.ready
        scene.fails = ""
        assert all(check.ready for check in await looking.checks())
        assert scene.asked == 2

    asyncio.run(run())


def test_a_store_that_hangs_is_not_waited_for_longer_than_the_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT_SECONDS", 0.1)

    async def run() -> None:
        scene = Scene()
        scene.hang = 0.5
        store, _ = await made(scene).checks()
        assert not store.ready and "no answer" in store.message and store.seconds < 0.5

    asyncio.run(run())
