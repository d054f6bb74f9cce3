"""The Kubernetes API's own limit: a client that makes pods, sees them end and deletes them, and does nothing else.

`python -m bench.bare KUBECONFIG` reads counts of pods from its input, a line each, and answers each with the seconds
that they took. It does what the executor asks of the API for pods like these, by the same calls: the same pods, as many
watches, 32 calls at once, answers without specification and status. The workers of these pods say nothing, so the log
of each is asked for, which its simulated node doesn't have. But there is no Kafka, no grant and no report.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import uuid
from datetime import UTC, datetime

from spinner_executor.adapters.backend import Launch
from spinner_executor.adapters.kubernetes.client import ApiFailure, Client
from spinner_executor.adapters.kubernetes.pod import WORKER, PodSettings, build
from spinner_executor.adapters.kubernetes.watch import PodWatch
from spinner_executor.domain import podnames, pods
from spinner_executor.domain.keys import try_key_text
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.orders.v1.orders_pb2 import DESIRED_STATE_RUNNING, ORDER_KIND_TASK, TaskOrder

INBOX = "scheduler_inbox-spinner_tier_1"
ENDS_AT_ONCE = {"spinner.dev/simulated-run": "0ms"}
PARTITIONS = 2
SECONDS = 600.0
_CLUSTER = "bare"


def order_of(task_id: str) -> TaskOrder:
    key = TryKey(dag_id="bench", run_id="manual__1", task_id=task_id, map_index=-1, try_number=1)
    order = TaskOrder(
        try_key=key, kind=ORDER_KIND_TASK, desired_state=DESIRED_STATE_RUNNING, reply_topic=INBOX, tier=2
    )  # fmt: skip
    order.ordered_time.FromDatetime(datetime.now(UTC))
    return order


class Bare:
    """Pods in a namespace of their own."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}"
        self._settings = PodSettings(namespace, _CLUSTER, "none", annotations=ENDS_AT_ONCE)
        self._watches = [
            PodWatch(client, namespace, _CLUSTER, partition, SECONDS, self._changed, self._gone)
            for partition in range(PARTITIONS)
        ]
        self._left: set[str] = set()
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._over = asyncio.Event()
        self._made = 0

    @classmethod
    async def start(cls, kubeconfig: str) -> Bare:
        client = await Client.connect(kubeconfig, 32)
        namespace = f"bare{uuid.uuid4().hex[:6]}"
        await client.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        async with asyncio.timeout(60):
            while True:
                try:
                    await client.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
                    break
                except ApiFailure:  # the controllers make it in a moment
                    await asyncio.sleep(0.1)
        bare = cls(client, namespace)
        for watch in bare._watches:
            await watch.open()
        return bare

    def _changed(self, pod: pods.Pod) -> None:
        if pod.phase is pods.Phase.ENDED and pod.name in self._left and pod.name not in self._endings:
            self._endings[pod.name] = asyncio.create_task(self._end(pod.name))

    async def _end(self, name: str) -> None:
        with contextlib.suppress(ApiFailure):
            async for _ in self._client.stream(f"{self._path}/pods/{name}/log", {"container": WORKER}):
                pass
        await self._client.call("DELETE", f"{self._path}/pods/{name}", metadata_only=True)

    def _gone(self, pod: pods.Pod) -> None:
        self._left.discard(pod.name)
        if not self._left:
            self._over.set()

    async def _make(self, number: int) -> None:
        order = order_of(f"pod{number}")
        key = try_key_text(order.try_key)
        launch = Launch(key, 0, _name(number), "", "127.0.0.1:1", number % PARTITIONS, order)
        manifest = build(launch, "nonce", self._settings)
        await self._client.call("POST", f"{self._path}/pods", manifest, metadata_only=True)

    async def run(self, count: int) -> float:
        """Makes `count` pods, as fast as they come; seconds until the last one is gone."""
        begun = time.monotonic()
        numbers = range(self._made, self._made + count)
        self._made += count
        self._left = {_name(number) for number in numbers}
        self._endings.clear()
        self._over.clear()
        await asyncio.gather(*(self._make(number) for number in numbers))
        await asyncio.wait_for(self._over.wait(), SECONDS)
        await asyncio.gather(*self._endings.values())
        return time.monotonic() - begun

    async def close(self) -> None:
        for watch in self._watches:
            watch.close()
        await self._client.call("DELETE", self._path)
        await self._client.close()


def _name(number: int) -> str:
    key = order_of(f"pod{number}").try_key
    return podnames.pod_name(key, try_key_text(key), 0)


async def main(kubeconfig: str) -> None:
    bare = await Bare.start(kubeconfig)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await bare.run(int(line)), flush=True)
    await bare.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
