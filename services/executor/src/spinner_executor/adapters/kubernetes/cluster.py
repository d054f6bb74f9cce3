"""What the executor needs of the cluster beside pods: its namespace, priority classes, nodes' health.

Missing things are created where the executor's role allows it; otherwise a warning says what an administrator must do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

from spinner_executor.adapters.kubernetes.client import ApiFailure, Backoff, Client
from spinner_executor.adapters.kubernetes.pod import PodSettings

_log = logging.getLogger(__name__)
# Tier 1 matters most. The values leave room below and above for the cluster's own classes.
PRIORITIES = {1: 3000, 2: 2000, 3: 1000}
_NODE_SECONDS = 5.0


async def prepare(client: Client, settings: PodSettings) -> PodSettings:
    """Makes sure of namespace and priority classes; returns the settings to use. Waits until the API answers."""
    namespace = settings.namespace
    await _ensure(client, "/api/v1/namespaces", namespace, {"kind": "Namespace", "metadata": {"name": namespace}})
    classes: dict[int, str] = {}
    for tier, value in PRIORITIES.items():
        name = f"spinner-tier-{tier}"
        body = {
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": f"Spinner's tasks of tier {tier}",
        }
        if await _ensure(client, "/apis/scheduling.k8s.io/v1/priorityclasses", name, body) is not None:
            classes[tier] = name
    return dataclasses.replace(settings, priority_classes=classes)


async def _ensure(client: Client, path: str, name: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The object as it is, created if missing; None where that is not allowed."""
    backoff = Backoff()
    while True:
        try:
            try:
                return await client.call("GET", f"{path}/{name}")
            except ApiFailure as failure:
                if failure.status not in (403, 404):
                    raise
            return await client.call("POST", path, body)
        except ApiFailure as failure:
            if failure.status == 409:
                continue
            if not failure.passing:
                _log.warning("%s %s: %s; an administrator must create it", body["kind"], name, failure)
                return None
            _log.warning("the Kubernetes API is not ready: %s", failure)
            await asyncio.sleep(backoff.pause(failure.retry_after))


class Nodes:
    """Asks for a node's health when a worker on it is lost; remembers the answer for a moment."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, asyncio.Future[str | None]]] = {}

    async def trouble(self, node: str) -> str | None:
        """What is wrong with a node, None when it is well or cannot be asked for."""
        loop = asyncio.get_running_loop()
        asked, answer = self._known.get(node, (0.0, None))
        if answer is None or loop.time() - asked > _NODE_SECONDS:
            answer = loop.create_task(self._ask(node))
            self._known[node] = (loop.time(), answer)
        return await asyncio.shield(answer)

    async def _ask(self, node: str) -> str | None:
        try:
            found = await self._client.call("GET", f"/api/v1/nodes/{node}", seconds=5.0)
        except ApiFailure as failure:
            return "it was removed from the cluster" if failure.status == 404 else None
        for condition in found["status"].get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] != "True":
                return f"{condition.get('reason', '')}: {condition.get('message', '')}"
        return None
