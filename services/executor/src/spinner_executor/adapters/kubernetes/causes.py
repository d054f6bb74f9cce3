"""Why a worker ended as it says, in the words of its kubelet, which come some time after the worker's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from spinner_proto.common.v1.common_pb2 import Outcome

from spinner_executor.adapters.kubernetes.client import ApiFailure, Client
from spinner_executor.domain import pods
from spinner_executor.domain.model import Exit

# How long a pod whose worker was told to end may take to be over.
_TAKEN_SECONDS = 30.0
# How long the kubelet may then take to say how a container ended, and how often it is looked at.
KUBELET_SECONDS = 5.0
_LOOK_SECONDS = 0.25


async def why_taken(pod: Callable[[], pods.Pod | None]) -> Exit | None:
    """Why the cluster ended a worker that was told to end; None: nobody says so in time. `pod`: as it is now.

    A kubelet that ends a pod by itself (deadline, eviction, shutdown) writes no word before its containers have ended:
    the phase that its reason goes with may not come earlier
    (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase).
    """
    loop = asyncio.get_running_loop()
    deadline, ended = loop.time() + _TAKEN_SECONDS, False
    while (now := pod()) is not None and loop.time() < deadline:
        cause = now.disruption or now.exit
        if cause is not None and cause.outcome != Outcome.OUTCOME_UNSPECIFIED:
            return cause
        if now.over:
            return None
        if now.exit is not None and not ended:
            ended, deadline = True, loop.time() + KUBELET_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
    return None


async def why_crashed(client: Client, path: str) -> Exit | None:
    """How the legacy container of the pod at `path` died, when its control group knows more than its worker."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + KUBELET_SECONDS
    with contextlib.suppress(ApiFailure):
        while True:
            manifest = await client.call("GET", path)
            found = pods.legacy_end(manifest)
            if found is not None:
                return found if found.outcome != Outcome.OUTCOME_UNSPECIFIED else None
            if not pods.has_legacy(manifest) or loop.time() > deadline:
                return None
            await asyncio.sleep(_LOOK_SECONDS)
    return None
