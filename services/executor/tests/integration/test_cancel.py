"""A cancelled try ends with all its processes, whatever they hid behind; its on_kill runs; its grace is its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spinner_eventlog.interface import Outgoing, TransactionalProducer
from spinner_eventlog.kafka import KafkaLog
from spinner_executor.app import serve
from spinner_executor.control.metrics import Metrics
from spinner_executor.settings import Settings
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

SDK = "spinner.runtime.runner:run_local"
DAEMON = """
import os, subprocess, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
p = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {p.pid} .")
p.wait()
"""
FAMILY = """
import os, signal, subprocess, sys, time
from spinner import DAG, Tier
from spinner.core.operator import BaseOperator

SLEEP = [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"]

class Family(BaseOperator):
    def __init__(self, *, mode, **kwargs):
        super().__init__(**kwargs)
        self.mode = mode

    def execute(self, context):
        # They are deaf from their first moment, also where Python takes long to start.
        heard = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        plain = subprocess.Popen(SLEEP)
        session = subprocess.Popen(SLEEP, start_new_session=True)
        signal.signal(signal.SIGTERM, heard)
        subprocess.Popen([sys.executable, "-c", DAEMON, "FOLDER/daemon"]).wait()
        text = ""
        while not text.endswith("."):
            time.sleep(0.01)
            text = open("FOLDER/daemon").read() if os.path.exists("FOLDER/daemon") else ""
        open("FOLDER/pids.new", "w").write(f"{plain.pid} {session.pid} {text[:-1]}")
        os.rename("FOLDER/pids.new", "FOLDER/pids")
        if self.mode == "deaf":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        if self.mode == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode != "leave":
            time.sleep(600)

    def on_kill(self):
        print("on_kill was called", flush=True)

with DAG("d", tier=Tier.TIER3, access_control={"x": {"can_dag_read"}}) as dag:
    for mode in ("wait", "leave", "deaf", "crash"):
        Family(task_id=mode, mode=mode)
"""


def start(stage: Stage, task_id: str, **more: object) -> o.TaskOrder:
    """Starts a task that has a child, one in a session of its own, and a daemon with a child by a double fork."""
    stage.executor(executor_entry=SDK)
    source = f"DAEMON = {DAEMON!r}\n{FAMILY.replace('FOLDER', str(stage.folder))}"
    order = stage.order(task_id, stage.bundle(dag=source), "dag.py", **more)
    stage.write(order)
    return order


def family(stage: Stage) -> list[int]:
    path = stage.folder / "pids"
    until(path.exists, "the task has started its children")
    return [int(pid) for pid in path.read_text().split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def cancel(stage: Stage, order: o.TaskOrder) -> None:
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)


def nothing_is_left(stage: Stage) -> None:
    pids = family(stage)
    assert len(pids) == 4
    until(lambda: not any(map(lives, pids)), "nothing is left")


def test_cancelling_runs_on_kill_and_ends_sessions_and_daemons(stage: Stage) -> None:
    order = start(stage, "wait")
    assert all(map(lives, family(stage)))
    cancel(stage, order)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_KILLED_BY_USER
    text = stage.log_of(ended).decode()
    assert "on_kill was called" in text
    assert "The task left 4 processes running; they were ended" in text
    nothing_is_left(stage)


def test_a_task_that_does_not_listen_is_killed_after_its_own_grace(stage: Stage) -> None:
    order = start(stage, "deaf", resources_json=json.dumps({"kill_grace_seconds": 1}))
    assert all(map(lives, family(stage)))
    begun = time.monotonic()
    cancel(stage, order)
    assert stage.wait(order).ended.outcome == c.OUTCOME_KILLED_BY_USER
    assert 0.9 < time.monotonic() - begun < 9
    nothing_is_left(stage)


def test_what_a_finished_task_leaves_is_ended(stage: Stage) -> None:
    order = start(stage, "leave")
    assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    nothing_is_left(stage)


def test_what_a_crashed_worker_leaves_is_killed(stage: Stage) -> None:
    order = start(stage, "crash")
    assert stage.wait(order).ended.outcome == c.OUTCOME_CRASHED
    nothing_is_left(stage)


class Held:
    """A Kafka log whose grants wait for a gate."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.gate = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def transactional_producer(self, transactional_id: str) -> Any:
        return HeldProducer(self._log.transactional_producer(transactional_id), self.gate)


class HeldProducer:
    def __init__(self, producer: TransactionalProducer, gate: threading.Event) -> None:
        self._producer, self._gate = producer, gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def append(self, records: Sequence[Outgoing]) -> list[int]:
        if any(record.value is not None for record in records):
            self._gate.wait()
        return self._producer.append(records)


class Life:
    def __init__(self) -> None:
        self.is_ready = threading.Event()

    def ready(self, grpc: str = "", http: str = "") -> None:
        self.is_ready.set()

    def crash(self, failure: BaseException) -> None:
        raise failure


def test_a_try_that_waits_for_its_grant_is_cancelled_before_it_runs(stage: Stage) -> None:
    log, life = Held(stage.log), Life()
    settings = Settings(
        kafka=stage.bootstrap, topic_prefix=stage.prefix, tiers="1", object_store=stage.store_url,
        grpc_address="127.0.0.1:0", executor_data=stage.folder / "data", executor_stop_workers=True,
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    serving = loop.create_task(serve(settings, log, life, Metrics()))  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([serving])))
    thread.start()
    try:
        assert life.is_ready.wait(30)
        source = f"DAEMON = {DAEMON!r}\n{FAMILY.replace('FOLDER', str(stage.folder))}"
        order = stage.order("wait", stage.bundle(dag=source), "dag.py")
        stage.write(order)
        tries = stage.folder / "data" / "tries"
        (record,) = until(  # type: ignore[misc]
            lambda: [path for path in tries.glob("*/*/worker-*.json") if path.stat().st_size],
            "the worker waits for its grant",
        )
        pid = json.loads(record.read_text())["pid"]
        cancel(stage, order)
        until(lambda: not lives(pid), "it ends without a grant")
        assert not stage.of(order, "ended")  # nothing is said that isn't in a fenced write
        log.gate.set()
        assert stage.wait(order).ended.outcome == c.OUTCOME_KILLED_BY_USER
        assert not stage.of(order, "started")
        assert not (stage.folder / "pids").exists()
    finally:
        log.gate.set()
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(30)
        loop.close()
