"""The pods of one order partition, kept current by one list and one watch.

The first list is read from the quorum (no resource version given): it shows every pod that any executor had created
before it was asked. Then one watch goes on from the list's version; bookmarks move that version while nothing happens.
A watch that ends or is cut is opened again from the latest version; "410 Gone" means that the version is forgotten, so
everything is listed again and compared. The same comparison, every `resync_seconds`, mends what a lost event left.

Handlers hear of a pod's state, not of events: the same state twice, or a later one without those between, is normal.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Client
from spinner_executor.domain import podnames, pods

_log = logging.getLogger(__name__)
_PAGE = 500
_WATCH_SECONDS = 300
# The server sends a bookmark about every minute.
_SILENCE_SECONDS = 100.0


class PodWatch:
    """Runs on the event loop. `changed(pod)`: how a pod is now; `gone(pod)`: it is in the API no more."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        cluster: str,
        partition: int,
        resync_seconds: float,
        changed: Callable[[pods.Pod], None],
        gone: Callable[[pods.Pod], None],
    ) -> None:
        self.partition = partition
        self.pods: dict[str, pods.Pod] = {}
        self._names: dict[str, set[str]] = {}
        self.relists = 0
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._selector = f"{podnames.CLUSTER}={podnames.label(cluster)},{podnames.PARTITION}={partition}"
        self._resync_seconds = resync_seconds
        self._changed = changed
        self._gone = gone
        self._version = ""
        self._next_list = 0.0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Lists; returns when every pod of the partition is known. Tries again until it succeeds; cancellable."""
        backoff = Backoff()
        while True:
            try:
                await self._list()
                break
            except ApiFailure as failure:
                _log.warning("pods of partition %d cannot be listed yet: %s", self.partition, failure)
                await asyncio.sleep(backoff.pause(failure.retry_after))
        self._task = asyncio.get_running_loop().create_task(self._run())

    def of_key(self, key: str) -> list[pods.Pod]:
        """The pods of a try."""
        return [self.pods[name] for name in self._names.get(key, ())]

    def _keep(self, pod: pods.Pod) -> None:
        self.pods[pod.name] = pod
        self._names.setdefault(pod.key, set()).add(pod.name)

    def _lose(self, name: str) -> pods.Pod:
        pod = self.pods.pop(name)
        names = self._names[pod.key]
        names.discard(name)
        if not names:
            del self._names[pod.key]
        return pod

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                if not self._version or asyncio.get_running_loop().time() > self._next_list:
                    await self._list()
                if await self._follow():
                    backoff.reset()
                    continue
                failure = ApiFailure(0, "", "the watch ended at once")
            except ApiFailure as error:
                failure = error
            except Exception:  # noqa: BLE001 - one odd pod must not end the watch
                _log.exception("the watch of partition %d failed: everything is listed again", self.partition)
                self._version, failure = "", ApiFailure(0, "", "failed")
            if failure.status == 410:
                _log.info("the watch of partition %d is too old: everything is listed again", self.partition)
                self._version = ""
            pause = backoff.pause(failure.retry_after)
            _log.debug("partition %d: %s; again in %.1f s", self.partition, failure, pause)
            await asyncio.sleep(pause)

    async def _list(self) -> None:
        found: dict[str, pods.Pod] = {}
        query = {"labelSelector": self._selector, "limit": str(_PAGE)}
        while True:
            page = await self._client.call("GET", self._path, query=query)
            for item in page["items"]:
                pod = pods.read(item)
                found[pod.name] = pod
            if not (token := page["metadata"].get("continue")):
                break
            query["continue"] = token
        self.relists += 1
        self._version = page["metadata"]["resourceVersion"]
        self._next_list = asyncio.get_running_loop().time() + random.uniform(0.8, 1.2) * self._resync_seconds  # noqa: S311
        for name in self.pods.keys() - found.keys():
            self._gone(self._lose(name))
        for pod in found.values():
            self._see(pod)

    def _see(self, pod: pods.Pod) -> None:
        known = self.pods.get(pod.name)
        if known is not None and known.uid != pod.uid:
            self._gone(self._lose(pod.name))
        if known != pod:
            self._keep(pod)
            self._changed(pod)

    async def _follow(self) -> bool:
        """Watches until the stream ends. Returns whether it brought anything. Raises ApiFailure."""
        left = max(1.0, self._next_list - asyncio.get_running_loop().time())
        query = {
            "watch": "true",
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(min(left, random.uniform(0.8, 1.2) * _WATCH_SECONDS)) + 1),  # noqa: S311
        }
        begun = asyncio.get_running_loop().time()
        brought = False
        async for event in self._client.watch(self._path, query, _SILENCE_SECONDS):
            self._apply(event)
            brought = True
        return brought or asyncio.get_running_loop().time() - begun > 1.0

    def _apply(self, event: dict[str, Any]) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise ApiFailure(int(item.get("code") or 0), item.get("reason", ""), item.get("message", ""))
        version = item["metadata"]["resourceVersion"]
        if int(version) <= int(self._version):  # versions only rise, so this was here before
            return
        self._version = version
        if kind == "BOOKMARK":
            return
        pod = pods.read(item)
        if kind != "DELETED":
            self._see(pod)
        elif pod.name in self.pods and self.pods[pod.name].uid == pod.uid:
            self._lose(pod.name)
            self._gone(pod)
