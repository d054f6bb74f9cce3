"""`make bench-executor`: one executor against a real Kubernetes API with simulated nodes, and its local back end.

Prints a table, writes build/bench/bench-executor.json. API server, simulated nodes, Kafka and executor share this
machine, so the API's own limit in the same run stands beside (`bench.bare`; rounds alternate), and the CPU time of each
process in both. Kubernetes' processes collect garbage less often than usual (GOGC=400) and keep their memory;
etcd doesn't sync.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_executor.domain import podnames
from spinner_executor.domain.keys import try_key_text
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_servers import kafka, kubernetes, process
from spinner_servers.kubernetes import Cluster
from spinner_servers.process import free_port

from bench import parts
from bench.bare import ENDS_AT_ONCE, INBOX, order_of
from bench.figures import Figure, figure, machine, percentile, table, write

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600.0
# Pods before those that are measured: servers are slow in their first seconds.
WARM = 300
_LABEL = re.compile(r'(\w+)="([^"]*)"')
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

    def empty(self) -> bool:
        """Whether there is no pod."""
        return not self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods?limit=1")["items"]

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


def api_calls(cluster: Cluster) -> dict[str, float]:
    """How many requests of each kind the API server has answered, for everybody."""
    found: dict[str, float] = {}
    for line in cluster.request("GET", "/metrics").splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(_LABEL.findall(line))
            words = (labels["verb"], labels["resource"], labels["subresource"])
            kind = " ".join(word for word in words if word)
            found[kind] = found.get(kind, 0.0) + float(line.rpartition(" ")[2])
    return found


def processes_below(folder: Path, executor: psutil.Process) -> dict[str, psutil.Process]:
    """The servers that were started in `folder`, and the executor."""
    found = {"executor": executor}
    for one in psutil.process_iter(["cmdline"]):
        command = " ".join(one.info["cmdline"] or ())
        for name, words in PROCESSES.items():
            if words in command and str(folder) in command:
                found[name] = one
    return found


class BareClient:
    """The process of `bench.bare`."""

    def __init__(self, cluster: Cluster) -> None:
        command = [sys.executable, "-m", "bench.bare", str(cluster.kubeconfig)]
        self.process = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def run(self, count: int) -> float:
        """Seconds for `count` pods."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def through_executor(bench: Bench, prefix: str, count: int) -> float:
    """Seconds for `count` pods that end at once: from their orders until their ends are reported and they are gone."""
    begun, done = time.monotonic(), 0
    bench.write([f"{prefix}n{n}" for n in range(count)])
    while done < count:
        done += len(bench.ended())
        if time.monotonic() - begun > SECONDS:
            raise RuntimeError(f"{done} of {count} pods ended within {SECONDS:.0f} s")
    bench.until(bench.empty, "all pods are gone")
    return time.monotonic() - begun


def throughput(cluster: Cluster, bootstrap: str, folder: Path, count: int, rounds: int) -> Iterator[Figure]:
    """Pods a second by the bare client and through the executor, a round each in turn on the same servers."""
    bench = Bench(cluster, bootstrap, folder, ENDS_AT_ONCE)
    bare = BareClient(cluster)
    try:
        for size in (WARM, WARM):
            bare.run(size)
            through_executor(bench, f"warm{uuid.uuid4().hex[:4]}", size)
        processes = processes_below(folder, bench.executor) | {"client": bare.process, "orders": psutil.Process()}
        ways: dict[str, Callable[[str], float]] = {
            "api": lambda _: bare.run(count),
            "executor": lambda number: through_executor(bench, f"round{number}", count),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        used: dict[str, dict[str, float]] = {way: dict.fromkeys(processes, 0.0) for way in ways}
        calls: dict[str, dict[str, float]] = {way: {} for way in ways}
        for number in range(rounds):
            for way, run in ways.items():
                asked, before = api_calls(cluster), cpu_seconds(processes)
                rates[way].append(count / run(str(number)))
                for name, seconds in cpu_seconds(processes).items():
                    used[way][name] += 1000 * (seconds - before[name]) / count / rounds
                for kind, times in api_calls(cluster).items():
                    more = (times - asked.get(kind, 0.0)) / count / rounds
                    calls[way][kind] = calls[way].get(kind, 0.0) + more
        yield figure("kubernetes_api_pods_per_s", rates["api"])
        yield figure("kubernetes_pods_per_s", rates["executor"])
        share = [100 * ours / limit for ours, limit in zip(rates["executor"], rates["api"], strict=True)]
        yield figure("kubernetes_pods_percent_of_api", share)
        for way, prefix in (("executor", "kubernetes"), ("api", "kubernetes_api")):
            for name, each in used[way].items():
                yield figure(f"{prefix}_{name}_cpu_ms_per_pod", [each], "ms")
            yield figure(f"{prefix}_all_cpu_ms_per_pod", [sum(used[way].values())], "ms")
            told = sorted(((times, kind) for kind, times in calls[way].items() if times >= 0.05), reverse=True)
            print("   " + ", ".join(f"{times:.2f} {kind}" for times, kind in told))
            yield figure(f"{prefix}_api_calls_per_pod", [sum(times for times, _ in told)], "")
    finally:
        bare.close()
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
    parser.add_argument("--pods", type=int, default=400, help="pods of each round of the throughput")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of it")
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
            note(throughput(cluster, launch.address, folder, arguments.pods, arguments.rounds))
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
