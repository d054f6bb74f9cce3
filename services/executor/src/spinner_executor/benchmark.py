"""`python -m spinner_executor.benchmark`: how fast the local back end launches tasks, against a real Kafka.

Needs SPINNER_KAFKA. Topics get a prefix of their own. Prints one JSON object: `local_tasks_per_s` (trivial tasks of
one batch, order to reported end), `launch_p50_ms` and `launch_p95_ms` (order written to granted start, one at a time),
both with a worker that starts and ends at once, so that the executor is measured rather than a task; `local_hop_p50_ms`
and `local_hop_p95_ms`: tasks of a DAG file in a chain, from the end of one's user code to the start of the next one's,
with a scheduler that is a loop: it answers a reported end with the next order in one transaction.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_objectstore import open_store
from spinner_proto.common.v1.common_pb2 import OUTCOME_SUCCESS, BundleRef, TryKey
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DESIRED_STATE_RUNNING, ORDER_KIND_TASK, TaskOrder

BATCH = 300
SINGLE = 60
CHAIN = 120
_INBOX = "scheduler_inbox-spinner_tier_1"
_SECONDS = 120.0
_CHAIN_FILE = """
import time
from pathlib import Path

from spinner import DAG, PythonOperator


def mark(ti):
    begun = time.time_ns()
    Path({marks!r}, ti.task_id).write_text(f"{{begun}} {{time.time_ns()}}")


with DAG("bench", tier=1, access_control={{"all": {{"can_dag_read"}}}}):
    for number in range({count}):
        PythonOperator(task_id=f"t{{number}}", python_callable=mark)
"""


class _Bench:
    """A scripted scheduler: writes orders, reads reports, removes ended orders."""

    def __init__(self, bootstrap: str) -> None:
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}."
        create_topics(bootstrap, ["spinner"], [1], {"scheduler_inbox": 1}, self.prefix)
        self.log = KafkaLog(bootstrap, "executor-benchmark", prefix=self.prefix)
        self._scheduler = self.log.transactional_producer("scheduler")
        self._reader = self.log.reader([(_INBOX, 0)])

    def order(self, task_id: str, bundle: BundleRef | None = None) -> Outgoing:
        key = TryKey(dag_id="bench", run_id="manual__1", task_id=task_id, map_index=-1, try_number=1)
        order = TaskOrder(
            try_key=key, kind=ORDER_KIND_TASK, desired_state=DESIRED_STATE_RUNNING, reply_topic=_INBOX,
            bundle=bundle, relative_path="chain.py" if bundle is not None else "",
        )  # fmt: skip
        order.ordered_time.FromDatetime(datetime.now(UTC))
        return Outgoing("task_orders-spinner", f"bench/manual__1/{task_id}/-1/1", order)

    def reports(self) -> list[TaskReport]:
        return [record.decode(InboxMessage).task_report for record in self._reader.poll(1000, 0.2)]

    def run(self, task_ids: list[str]) -> tuple[list[float], float]:
        """Runs tasks; milliseconds from order to start of each, and seconds for all."""
        begun = time.monotonic()
        orders = [self.order(task_id) for task_id in task_ids]
        written = time.time()
        self._scheduler.commit(orders)
        delays: list[float] = []
        left = set(task_ids)
        while left:
            if time.monotonic() - begun > _SECONDS:
                raise SystemExit(f"{len(left)} of {len(task_ids)} tasks did not end within {_SECONDS:.0f} s")
            ended = []
            for report in self.reports():
                if report.HasField("started"):
                    delays.append((report.time.ToMicroseconds() / 1e6 - written) * 1000)
                elif report.HasField("ended") and report.try_key.task_id in left:
                    if report.ended.outcome != OUTCOME_SUCCESS:
                        raise SystemExit(f"a task failed: {report.ended.message}")
                    left.discard(report.try_key.task_id)
                    ended.append(Outgoing("task_orders-spinner", self.order(report.try_key.task_id).key, None))
            if ended:
                self._scheduler.commit(ended)
        return delays, time.monotonic() - begun

    def chain(self, bundle: BundleRef, marks: Path) -> list[float]:
        """Runs the chain's tasks one after the other; milliseconds from each one's end to the next one's start."""
        task_ids = [f"t{number}" for number in range(CHAIN)]
        begun = time.monotonic()
        ended: list[Outgoing] = []
        for task_id in task_ids:
            self._scheduler.commit([*ended, self.order(task_id, bundle)])
            ended = []
            while not ended:
                if time.monotonic() - begun > _SECONDS:
                    raise SystemExit(f"{task_id} of the chain did not end within {_SECONDS:.0f} s")
                for report in self.reports():
                    if report.HasField("ended") and report.try_key.task_id == task_id:
                        if report.ended.outcome != OUTCOME_SUCCESS:
                            raise SystemExit(f"{task_id} of the chain failed: {report.ended.message}")
                        ended = [Outgoing("task_orders-spinner", self.order(task_id).key, None)]
        self._scheduler.commit(ended)
        times = [list(map(int, (marks / task_id).read_text().split())) for task_id in task_ids]
        hops = [(after[0] - before[1]) / 1e6 for before, after in itertools.pairwise(times)]
        return hops[CHAIN // 4 :]  # the first ones make the file warm


def _chain_bundle(folder: Path) -> BundleRef:
    """A packed bundle with the chain's DAG file, whose tasks leave their times in `folder`/marks."""
    marks = folder / "marks"
    marks.mkdir()
    text = _CHAIN_FILE.format(marks=str(marks), count=CHAIN).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("chain.py")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    key = "bundles/bench/1.tar.zst"
    open_store(f"file://{folder}/objects").put(key, zstandard.compress(packed.getvalue()))
    return BundleRef(name="bench", version="1", object_key=key)


def _start(bootstrap: str, prefix: str, folder: Path, entry: str) -> subprocess.Popen[bytes]:
    """An executor process, ready. `entry`: what its workers call."""
    status = folder / "status.json"
    settings = {
        "KAFKA": bootstrap,
        "TOPIC_PREFIX": prefix,
        "TIERS": "1",
        "OBJECT_STORE": f"file://{folder}/objects",
        "GRPC_ADDRESS": "127.0.0.1:0",
        "EXECUTOR_DATA": str(folder / "data"),
        "EXECUTOR_STOP_WORKERS": "true",
        "EXECUTOR_ENTRY": entry,
        "STATUS_FILE": str(status),
        "LOG_TOPIC": "false",  # as in the local stack: only a search index reads it
    }
    environment = os.environ | {f"SPINNER_{name}": value for name, value in settings.items()}
    with (folder / "executor.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "spinner_executor"], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + _SECONDS
    while not (status.exists() and json.loads(status.read_text())["state"] == "ready"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the executor was not ready:\n{(folder / 'executor.log').read_text()[-2000:]}")
        time.sleep(0.02)
    return process


def measure(bootstrap: str, folder: Path) -> dict[str, float]:
    """Starts executors and returns the figures."""
    with _running(bootstrap, folder / "trivial", "spinner_executor.adapters.local.trivial:run") as bench:
        bench.run([f"warm{n}" for n in range(20)])
        delays = [bench.run([f"one{n}"])[0][0] for n in range(SINGLE)]
        _, seconds = bench.run([f"many{n}" for n in range(BATCH)])
    with _running(bootstrap, folder / "chain", "spinner.runtime.runner:run_local") as bench:
        hops = bench.chain(_chain_bundle(folder / "chain"), folder / "chain" / "marks")
    return {
        "local_tasks_per_s": round(BATCH / seconds, 1),
        "launch_p50_ms": round(statistics.median(delays), 2),
        "launch_p95_ms": round(statistics.quantiles(delays, n=20)[18], 2),
        "local_hop_p50_ms": round(statistics.median(hops), 2),
        "local_hop_p95_ms": round(statistics.quantiles(hops, n=20)[18], 2),
    }


@contextlib.contextmanager
def _running(bootstrap: str, folder: Path, entry: str) -> Iterator[_Bench]:
    folder.mkdir()
    bench = _Bench(bootstrap)
    executor = _start(bootstrap, bench.prefix, folder, entry)
    try:
        yield bench
    finally:
        executor.terminate()
        executor.wait(20)
        bench.log.close()


def main() -> None:
    bootstrap = os.environ.get("SPINNER_KAFKA", "127.0.0.1:19092")
    with tempfile.TemporaryDirectory(prefix="spinner-bench-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(measure(bootstrap, Path(folder))))


if __name__ == "__main__":
    main()
