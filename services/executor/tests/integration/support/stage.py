"""The scene of the integration tests: topics of their own, a scripted scheduler, executors as processes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import zstandard
from spinner_eventlog.interface import Outgoing, partition_for
from spinner_eventlog.kafka import KafkaLog
from spinner_eventlog.topics import create_topics
from spinner_objectstore import open_store
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.inbox.v1.inbox_pb2 import Command, InboxMessage, TaskEnded, TaskReport
from spinner_proto.orders.v1 import orders_pb2 as o

SUPPORT = Path(__file__).parent


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> object:
    """Waits for a condition; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class Stage:
    """A cluster on a broker: writes orders, reads reports, tombstones ends as the scheduler would."""

    def __init__(self, bootstrap: str, folder: Path, partitions: int = 2) -> None:
        self.prefix = f"ex{uuid.uuid4().hex[:8]}."
        self.folder = folder
        self.bootstrap = bootstrap
        create_topics(bootstrap, ["spinner"], [1], {"task_orders": partitions, "scheduler_inbox": 1}, self.prefix)
        self.log = KafkaLog(bootstrap, "test", prefix=self.prefix)
        self.producer = self.log.producer("scheduler")
        self.partitions = partitions
        self.reader = self.log.reader([("scheduler_inbox-spinner_tier_1", 0)])
        self.reports: list[TaskReport] = []
        self.store_url = f"file://{folder}/objects"
        self.store = open_store(self.store_url)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.auto_tombstone = True
        self.commands: list[Command] = []
        # Runs that other DAGs have; the scheduler's answers are read by executors.
        self.existing_runs: set[str] = set()
        # Settings of every executor, by name.
        self.settings: dict[str, object] = {}
        # Where executors listen, one after the other; empty: anywhere.
        self.addresses: list[str] = []
        self.run_id = "manual__2026-11-27T08:00:00+00:00"

    def bundle(self, **files: str) -> c.BundleRef:
        """A packed bundle with these files (name without .py → source)."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, text in files.items():
                info = tarfile.TarInfo(f"{name}.py")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        version = uuid.uuid4().hex[:12]
        key = f"bundles/test/{version}.tar.zst"
        self.store.put(key, zstandard.compress(buffer.getvalue()))
        return c.BundleRef(name="test", version=version, object_key=key)

    def order(
        self,
        task_id: str,
        bundle: c.BundleRef | None = None,
        path: str = "",
        try_number: int = 1,
        **more: object,
    ) -> o.TaskOrder:
        key = c.TryKey(dag_id="d", run_id=self.run_id, task_id=task_id, map_index=-1, try_number=try_number)
        order = o.TaskOrder(
            try_key=key,
            kind=o.ORDER_KIND_TASK,
            desired_state=o.DESIRED_STATE_RUNNING,
            reply_topic="scheduler_inbox-spinner_tier_1",
            reply_partition=0,
            bundle=bundle,
            relative_path=path,
            **more,
        )
        order.ordered_time.FromDatetime(datetime.now(UTC))
        return order

    @staticmethod
    def key(order: o.TaskOrder) -> str:
        k = order.try_key
        return f"{k.dag_id}/{k.run_id}/{k.task_id}/{k.map_index}/{k.try_number}"

    def write(self, *orders: o.TaskOrder) -> None:
        for order in orders:
            self.producer.send(Outgoing("task_orders-spinner", self.key(order), order))
        self.producer.flush()

    def tombstone(self, order: o.TaskOrder) -> None:
        self.producer.send(Outgoing("task_orders-spinner", self.key(order), None))
        self.producer.flush()

    def poll(self) -> list[TaskReport]:
        """Reads new reports; tombstones the orders of ended tries."""
        for record in self.reader.poll(1000, 0.05):
            message = record.decode(InboxMessage)
            if message.HasField("command"):
                self._answer(message.command)
                continue
            report = message.task_report
            self.reports.append(report)
            if self.auto_tombstone and report.WhichOneof("kind") == "ended":
                k = report.try_key
                key = f"{k.dag_id}/{k.run_id}/{k.task_id}/{k.map_index}/{k.try_number}"
                self.producer.send(Outgoing("task_orders-spinner", key, None))
        return self.reports

    def _answer(self, command: Command) -> None:
        """Answers as a scheduler does, each request once."""
        if any(earlier.request_id == command.request_id for earlier in self.commands):
            return
        self.commands.append(command)
        step = WorkflowEvents(dag_id=command.dag_id)
        event, run_id = step.events.add(), command.trigger_run.run_id or command.clear_tasks.run_id
        told = event.command_accepted
        if command.HasField("trigger_run") and run_id in self.existing_runs:
            told = event.command_rejected  # type: ignore[assignment]
            event.command_rejected.code, event.command_rejected.message = "RUN_EXISTS", f"run {run_id} exists already"
        else:
            event.command_accepted.run_id = run_id
        told.request_id = command.request_id
        told.actor.CopyFrom(command.actor)
        self.producer.send(Outgoing("workflow_events-spinner_tier_1", command.dag_id, step, 0))

    def of(self, order: o.TaskOrder, kind: str) -> list[TaskReport]:
        return [r for r in self.poll() if r.try_key == order.try_key and r.WhichOneof("kind") == kind]

    def wait(self, order: o.TaskOrder, kind: str = "ended", seconds: float = 20.0) -> TaskReport:
        found = until(lambda: self.of(order, kind), f"{kind} of {order.try_key.task_id}", seconds)
        return found[-1]  # type: ignore[index]

    def log_of(self, ended: TaskEnded, seconds: float = 20.0) -> bytes:
        """The uploaded log, which may follow the report of a try that ended well."""
        until(lambda: self.store.exists(ended.log_key), f"the log {ended.log_key}", seconds)
        return self.store.get(ended.log_key)

    def executor(
        self,
        data: str = "data",
        wait: bool = True,
        wait_seconds: float = 60.0,
        groups: Sequence[Path] = (),
        **settings: object,
    ) -> subprocess.Popen[bytes]:
        """Starts an executor process, ready when this returns (unless `wait` is false). `groups`: its control group's
        folders, if it is to have one of its own."""

        def enter() -> None:
            for group in groups:
                (group / "cgroup.procs").write_text("0")

        name = uuid.uuid4().hex[:6]
        status = self.folder / f"status-{name}.json"
        environment = os.environ | {
            "PYTHONPATH": str(SUPPORT),
            "SPINNER_KAFKA": self.bootstrap,
            "SPINNER_TOPIC_PREFIX": self.prefix,
            "SPINNER_TIERS": "1",
            "SPINNER_OBJECT_STORE": self.store_url,
            "SPINNER_GRPC_ADDRESS": "127.0.0.1:0",
            "SPINNER_EXECUTOR_DATA": str(self.folder / data),
            "SPINNER_EXECUTOR_ENTRY": "double_worker:run",
            "SPINNER_STATUS_FILE": str(status),
            "SPINNER_HEARTBEAT_SECONDS": "0.5",
            "SPINNER_LOG_FORMAT": "console",
        }
        if self.addresses:
            environment["SPINNER_GRPC_ADDRESS"] = self.addresses[len(self.processes) % len(self.addresses)]
        environment |= {f"SPINNER_{key.upper()}": str(value) for key, value in (self.settings | settings).items()}
        with (self.folder / f"executor-{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "spinner_executor"],
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=enter if groups else None,
            )
        process.status_file = status  # type: ignore[attr-defined]
        self.processes.append(process)
        if wait:
            until(lambda: status.exists() and '"ready"' in status.read_text(), "executor ready", wait_seconds)
        return process

    def partition_of(self, order: o.TaskOrder) -> int:
        return partition_for(self.key(order), self.partitions)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for record in self.folder.glob("*/tries/*/*/worker-*.json"):
            pid = __import__("json").loads(record.read_text())["pid"]
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        self.log.close()
