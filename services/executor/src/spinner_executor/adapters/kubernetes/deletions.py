"""Deleting pods: each once, by its uid, again and again until the API has taken it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Client

_log = logging.getLogger(__name__)


class Deletions:
    """Runs on the event loop; the client's gate bounds how many calls are in flight."""

    def __init__(self, client: Client, pods_path: str) -> None:
        self._client = client
        self._pods_path = pods_path
        # The grace period that was asked for, by uid.
        self._asked: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, uid: str, grace_seconds: int) -> None:
        """Deletes a pod; a second call counts only when it asks for less grace. Returns at once."""
        known = self._asked.get(uid)
        if known is not None and known <= grace_seconds:
            return
        self._asked[uid] = grace_seconds
        task = asyncio.get_running_loop().create_task(self._delete(name, uid, grace_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def gone(self, uid: str) -> None:
        """The pod is gone: nothing to remember."""
        self._asked.pop(uid, None)

    async def _delete(self, name: str, uid: str, grace_seconds: int) -> None:
        backoff = Backoff()
        while True:
            try:
                path, options = f"{self._pods_path}/{name}", _options(uid, grace_seconds)
                await self._client.call("DELETE", path, options, metadata_only=True)
                break
            except ApiFailure as failure:
                if failure.status in (404, 409):  # gone, or another pod of that name
                    self._asked.pop(uid, None)
                    break
                if not failure.passing:
                    _log.error("pod %s cannot be deleted: %s", name, failure)
                pause = backoff.pause(failure.retry_after)
            await asyncio.sleep(pause)

    async def drain(self, seconds: float) -> None:
        """Waits for what was asked for, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()


def _options(uid: str, grace_seconds: int) -> dict[str, Any]:
    return {
        "gracePeriodSeconds": grace_seconds,
        "propagationPolicy": "Background",
        "preconditions": {"uid": uid},
    }
