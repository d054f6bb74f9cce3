"""`make bench-executor`: one executor against a real Kubernetes API with simulated nodes, and its local back end.

Prints a table, writes build/bench/bench-executor.json. API server, simulated nodes, Kafka and executor share this
machine, so the API's own limit (the same pods, made and removed by a bare client without Kafka) stands beside, and the
CPU time of each process. Kubernetes' processes collect garbage less often than usual (GOGC=400) and keep their memory;
etcd doesn't sync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_executor.adapters.backend import Launch
from spinner_executor.adapters.kubernetes.client import Client
from spinner_executor.adapters.kubernetes.pod import PodSettings, build
from spinner_executor.adapters.kubernetes.watch import PodWatch
from spinner_executor.domain import podnames, pods
from spinner_executor.domain.keys import try_key_text
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DESIRED_STATE_RUNNING, ORDER_KIND_TASK, TaskOrder
from spinner_servers import kafka, kubernetes, process
from spinner_servers.kubernetes import Cluster
from spinner_servers.process import free_port

from bench import parts
from bench.figures import Figure, figure, machine, percentile, table, write

ROOT = Path(__file__).resolve().parent.parent
INBOX = "scheduler_inbox-spinner_tier_1"
ENDS_AT_ONCE = {"spinner.dev/simulated-run": "0ms"}
SECONDS = 600.0
# Pods before those that are measured: servers are slow in their first seconds.
WARM = 300
# What tells each process by its command line.
PROCESSES = {
    "executor": "-m spinner_executor",
    "kafka": "kafka.Kafka",
    "apiserver": "kube apiserver",
    "etcd": "kube etcd",
    "controllers": "kube controller-manager",
    "scheduler": "kube scheduler",
    "kwok": "kwok --kubeconfig",
}


def order_of(task_id: str) -> TaskOrder:
    key = TryKey(dag_id="bench", run_id="manual__1", task_id=task_id, map_index=-1, try_number=1)
    order = TaskOrder(
        try_key=key, kind=ORDER_KIND_TASK, desired_state=DESIRED_STATE_RUNNING, reply_topic=INBOX, tier=2
    )  # fmt: skip
    order.ordered_time.FromDatetime(datetime.now(UTC))
    return order


class Bench:
    """A cluster, a broker, one executor with `annotations` on its pods, and a scripted scheduler."""

    def __init__(self, cluster: Cluster, bootstrap: str, folder: Path, annotations: dict[str, str]) -> None:
        self.cluster = cluster
        prefix = f"bench{uuid.uuid4().hex[:6]}."
        self.namespace = prefix.strip(".")
        self._folder = folder
        create_topics(bootstrap, ["spinner"], [1], {"scheduler_inbox": 1}, prefix)
        self._log = KafkaLog(bootstrap, "bench", prefix=prefix)
        self._producer = self._log.producer("scheduler")
        self._reader = self._log.reader([(INBOX, 0)])
        status = folder / f"{self.namespace}.json"
        settings = {
            "KAFKA": bootstrap, "TOPIC_PREFIX": prefix, "TIERS": "1", "OBJECT_STORE": f"file://{folder}/objects",
            "GRPC_ADDRESS": "127.0.0.1:0", "EXECUTOR_DATA": f"{folder}/{self.namespace}", "STATUS_FILE": str(status),
            "EXECUTOR_BACKEND": "kubernetes", "KUBERNETES_CONFIG": str(cluster.kubeconfig),
            "KUBERNETES_NAMESPACE": self.namespace, "KUBERNETES_ANNOTATIONS": json.dumps(annotations),
            "LOST_AFTER_SECONDS": "86400", "LOG_LEVEL": "warning",
        }  # fmt: skip
        environment = os.environ | {f"SPINNER_{name}": value for name, value in settings.items()}
        with (folder / f"{self.namespace}.log").open("wb") as log:
            command = [sys.executable, "-m", "spinner_executor"]
            self.executor = psutil.Popen(command, env=environment, stdout=log, stderr=log)
        self.until(lambda: status.exists() and json.loads(status.read_text())["state"] == "ready", "executor ready")

    def until(self, condition: Callable[[], object], what: str, pause: float = 0.01) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > deadline or self.executor.poll() is not None:
                raise RuntimeError(f"{what}: not within {SECONDS:.0f} s; see {self._folder}/{self.namespace}.log")
            time.sleep(pause)

    def write(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            order = order_of(task_id)
            self._producer.send(Outgoing("task_orders-spinner", try_key_text(order.try_key), order))
        self._producer.flush()

    def ended(self) -> list[TaskReport]:
        """New ends; their orders are removed, as the scheduler would."""
        reports = [record.decode(InboxMessage).task_report for record in self._reader.poll(2000, 0.05)]
        ends = [report for report in reports if report.HasField("ended")]
        for report in ends:
            self._producer.send(Outgoing("task_orders-spinner", try_key_text(report.try_key), None))
        return ends

    def running(self) -> int:
        """How many pods there are, 0 while any is pending; asked for without their content."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?limit=1"
        if self.cluster.request("GET", f"{path}&fieldSelector=status.phase%3DPending")["items"]:
            return 0
        page = self.cluster.request("GET", path)
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

    def close(self) -> None:
        self.executor.terminate()
        self.executor.wait(30)
        self._log.close()
        self.cluster.request("DELETE", f"/api/v1/namespaces/{self.namespace}")


def cpu_seconds(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """CPU seconds that each process has used."""
    return {name: sum(one.cpu_times()[:2]) for name, one in processes.items()}


def processes_below(folder: Path, executor: psutil.Process) -> dict[str, psutil.Process]:
    """The servers that were started in `folder`, and the executor."""
    found = {"executor": executor}
    for one in psutil.process_iter(["cmdline"]):
        command = " ".join(one.info["cmdline"] or ())
        for name, words in PROCESSES.items():
            if words in command and str(folder) in command:
                found[name] = one
    return found


async def bare(cluster: Cluster, count: int) -> float:
    """Seconds for a bare client to make `count` pods, see them end by one watch, and delete them."""
    client = await Client.connect(str(cluster.kubeconfig), 32)
    namespace = f"bare{uuid.uuid4().hex[:6]}"
    await client.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    settings = PodSettings(namespace, "bare", "none", annotations=ENDS_AT_ONCE)
    path = f"/api/v1/namespaces/{namespace}"
    account = f"{path}/serviceaccounts/default"
    while True:
        try:
            await client.call("GET", account)
            break
        except Exception:  # noqa: BLE001 - the controllers make it in a moment
            await asyncio.sleep(0.1)
    left = asyncio.Event()
    ended: set[str] = set()

    def changed(pod: pods.Pod) -> None:
        if pod.phase is pods.Phase.ENDED and pod.name not in ended:
            ended.add(pod.name)
            deleted = client.call("DELETE", f"{path}/pods/{pod.name}", metadata_only=True)
            deletions.append(asyncio.create_task(deleted))
            if len(ended) == count:
                left.set()

    async def make(number: int) -> None:
        order = order_of(f"bare{number}")
        key = try_key_text(order.try_key)
        launch = Launch(key, 0, podnames.pod_name(order.try_key, key, 0), "", "127.0.0.1:1", 0, order)
        await client.call("POST", f"{path}/pods", build(launch, "nonce", settings), metadata_only=True)

    deletions: list[asyncio.Task[dict[str, Any]]] = []
    watch = PodWatch(client, namespace, "bare", 0, SECONDS, changed, lambda _: None)
    await watch.open()
    begun = time.monotonic()
    await asyncio.gather(*(make(number) for number in range(count)))
    await asyncio.wait_for(left.wait(), SECONDS)
    await asyncio.gather(*deletions)
    seconds = time.monotonic() - begun
    watch.close()
    await client.call("DELETE", path)
    await client.close()
    return seconds


def throughput(cluster: Cluster, bootstrap: str, folder: Path, count: int) -> Iterator[Figure]:
    """Pods that end at once: from their orders to their reported ends."""
    bench = Bench(cluster, bootstrap, folder, ENDS_AT_ONCE)
    try:
        bench.write([f"warm{n}" for n in range(WARM)])
        done: list[TaskReport] = []
        while len(done) < WARM:
            done += bench.ended()
        processes = processes_below(folder, bench.executor)
        before, begun, done = cpu_seconds(processes), time.monotonic(), []
        bench.write([f"pod{n}" for n in range(count)])
        while len(done) < count:
            done += bench.ended()
            if time.monotonic() - begun > SECONDS:
                raise RuntimeError(f"{len(done)} of {count} pods ended within {SECONDS:.0f} s")
        seconds = time.monotonic() - begun
        yield figure("kubernetes_pods_per_s", [count / seconds])
        for name, used in cpu_seconds(processes).items():
            yield figure(f"kubernetes_{name}_cpu_ms_per_pod", [1000 * (used - before[name]) / count], "ms")
    finally:
        bench.close()


def live(cluster: Cluster, bootstrap: str, folder: Path, count: int, samples: int) -> Iterator[Figure]:
    """Memory and status lag with `count` pods that run: from before a pod's status is written to its end's report,
    as a reader of Kafka sees it."""
    bench = Bench(cluster, bootstrap, folder, {})
    try:
        time.sleep(2)
        before = bench.executor.memory_info().rss
        tasks = [f"live{n}" for n in range(count)]
        begun = time.monotonic()
        bench.write(tasks)
        bench.until(lambda: bench.running() >= count, f"{count} pods run", 0.5)
        yield figure("kubernetes_live_pods_started_s", [time.monotonic() - begun])
        yield figure("kubernetes_kib_per_live_pod", [(bench.executor.memory_info().rss - before) / count / 1024])
        told: dict[str, float] = {}
        lags: list[float] = []
        state = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        status = {"status": {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": state}]}}
        path = f"/api/v1/namespaces/{bench.namespace}/pods"

        def listen() -> None:
            while len(lags) < samples and bench.executor.poll() is None:
                for report in bench.ended():
                    if report.try_key.task_id in told:
                        lags.append(time.monotonic() - told[report.try_key.task_id])

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        for task_id in tasks[:samples]:
            order = order_of(task_id)
            name = podnames.pod_name(order.try_key, try_key_text(order.try_key), 0)
            told[task_id] = time.monotonic()
            bench.cluster.request("PATCH", f"{path}/{name}/status", status, "application/strategic-merge-patch+json")
        bench.until(lambda: len(lags) >= samples, "all ends are reported")
        listener.join()
        yield figure("kubernetes_status_lag_p50_ms", [1000 * statistics.median(lags)])
        yield figure("kubernetes_status_lag_p95_ms", [1000 * percentile(lags, 95)])
    finally:
        bench.close()


def main() -> int:
    """Runs the parts; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubernetes", description=__doc__)
    parser.add_argument("--pods", type=int, default=1500, help="pods of the throughput")
    parser.add_argument("--live", type=int, default=5000, help="pods that run at once")
    parser.add_argument("--samples", type=int, default=300, help="measured ends among them")
    parser.add_argument("--no-local", action="store_true", help="without the local back end")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench" / "bench-executor.json")
    arguments = parser.parse_args()
    os.environ.setdefault("GOGC", "400")
    os.environ.setdefault("GODEBUG", "madvdontneed=0")
    figures: list[Figure] = []

    def note(found: Iterator[Figure]) -> None:
        try:
            for one in found:
                print(f"   {one.name} = {one.value:g} {one.unit}", flush=True)
                figures.append(one)
        except Exception:  # noqa: BLE001 - the other parts are still worth measuring
            traceback.print_exc()

    with tempfile.TemporaryDirectory(prefix="spinner-bench-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        port = free_port()
        (folder / "kafka").mkdir()
        launch = kafka.prepare(folder / "kafka", port, free_port(taken=[port]))
        cluster = kubernetes.start(folder / "kubernetes", nodes=8, with_parent=True)
        process.start(launch, with_parent=True)
        try:
            asyncio.run(bare(cluster, WARM))
            seconds = asyncio.run(bare(cluster, arguments.pods))
            note(iter([figure("kubernetes_api_pods_per_s", [arguments.pods / seconds])]))
            note(throughput(cluster, launch.address, folder, arguments.pods))
            note(live(cluster, launch.address, folder, arguments.live, arguments.samples))
            kubernetes.stop(folder / "kubernetes", 0)
            if not arguments.no_local:
                os.environ["SPINNER_KAFKA"] = launch.address
                note(parts.executor())
        finally:
            kubernetes.stop(folder / "kubernetes", 0)
            process.stop(folder / "kafka", 0)
    write(arguments.output, machine(), figures)
    print(f"\n{table(figures)}\n\nwritten to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
