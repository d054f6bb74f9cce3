"""`python -m spinner_executor.benchmark`: how fast the local back end launches tasks, against a real Kafka.

Needs SPINNER_KAFKA. Topics get a prefix of their own. Prints one JSON object: `local_tasks_per_s` (trivial tasks of
one batch, order to reported end), `launch_p50_ms` and `launch_p95_ms` (order written to granted start, one at a time).
SPINNER_EXECUTOR_ENTRY chooses what a worker calls; the default is a worker that starts and ends at once, so that the
executor is measured rather than a task.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from spinner_eventlog.interface import Outgoing
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_proto.common.v1.common_pb2 import OUTCOME_SUCCESS, TryKey
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DESIRED_STATE_RUNNING, ORDER_KIND_TASK, TaskOrder

BATCH = 300
SINGLE = 60
_INBOX = "scheduler_inbox-spinner_tier_1"
_SECONDS = 120.0


class _Bench:
    """A scripted scheduler: writes orders, reads reports, removes ended orders."""

    def __init__(self, bootstrap: str) -> None:
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}."
        create_topics(bootstrap, ["spinner"], [1], {"scheduler_inbox": 1}, self.prefix)
        self.log = KafkaLog(bootstrap, "executor-benchmark", prefix=self.prefix)
        self._scheduler = self.log.transactional_producer("scheduler")
        self._reader = self.log.reader([(_INBOX, 0)])

    def order(self, task_id: str) -> Outgoing:
        key = TryKey(dag_id="bench", run_id="manual__1", task_id=task_id, map_index=-1, try_number=1)
        order = TaskOrder(
            try_key=key, kind=ORDER_KIND_TASK, desired_state=DESIRED_STATE_RUNNING, reply_topic=_INBOX
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


def _start(bootstrap: str, prefix: str, folder: Path) -> subprocess.Popen[bytes]:
    """An executor process, ready."""
    status = folder / "status.json"
    settings = {
        "KAFKA": bootstrap,
        "TOPIC_PREFIX": prefix,
        "TIERS": "1",
        "OBJECT_STORE": f"file://{folder}/objects",
        "GRPC_ADDRESS": "127.0.0.1:0",
        "EXECUTOR_DATA": str(folder / "data"),
        "EXECUTOR_STOP_WORKERS": "true",
        "EXECUTOR_ENTRY": os.environ.get("SPINNER_EXECUTOR_ENTRY", "spinner_executor.adapters.local.trivial:run"),
        "STATUS_FILE": str(status),
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
    """Starts an executor and returns the figures."""
    bench = _Bench(bootstrap)
    executor = _start(bootstrap, bench.prefix, folder)
    try:
        bench.run([f"warm{n}" for n in range(20)])
        delays = [bench.run([f"one{n}"])[0][0] for n in range(SINGLE)]
        _, seconds = bench.run([f"many{n}" for n in range(BATCH)])
    finally:
        executor.terminate()
        executor.wait(20)
        bench.log.close()
    return {
        "local_tasks_per_s": round(BATCH / seconds, 1),
        "launch_p50_ms": round(statistics.median(delays), 2),
        "launch_p95_ms": round(statistics.quantiles(delays, n=20)[18], 2),
    }


def main() -> None:
    bootstrap = os.environ.get("SPINNER_KAFKA", "127.0.0.1:19092")
    with tempfile.TemporaryDirectory(prefix="spinner-bench-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(measure(bootstrap, Path(folder))))


if __name__ == "__main__":
    main()
