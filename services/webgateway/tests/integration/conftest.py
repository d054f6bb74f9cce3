"""A gateway that serves HTTP and gRPC, a scheduler that answers commands, an executor that has a log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
from cryptography.fernet import Fernet
from spinner_eventlog.interface import Outgoing, Transient
from spinner_proto.events.v1 import events_pb2
from spinner_proto.executor.v1 import executor_pb2, executor_pb2_grpc
from spinner_proto.inbox.v1 import inbox_pb2
from spinner_servicekit import grpc_server
from spinner_webgateway.api import grpc_service
from spinner_webgateway.api.rest import create_api
from spinner_webgateway.app import build
from spinner_webgateway.settings import Settings

EVENTS = "workflow_events-spinner_tier_1"
INBOX = "scheduler_inbox-spinner_tier_1"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def write(log: Any, *records: tuple[str, str, Any]) -> None:
    producer = log.producer("test")
    for topic, key, message in records:
        producer.send(Outgoing(topic, key, message, partition=0 if topic == EVENTS else None))
    producer.flush()


def write_events(log: Any, *messages: Any) -> None:
    write(log, *((EVENTS, f"{m.dag_id}/{m.run_id}" if m.run_id else m.dag_id, m) for m in messages))


class RunningGateway:
    """The gateway in a thread of the test's process."""

    def __init__(self, log: Any, store: Any, folder: Path, number: int = 0, **settings: Any) -> None:
        values = {
            "database": f"sqlite:///{folder}/views{number}.db",
            "tiers": "1",
            "development_user": "developer",
            "answer_seconds": 5.0,
            "secret_key": Fernet.generate_key().decode(),
            **settings,
        }
        self.log = log
        self.settings = Settings(**values)
        self.parts = build(self.settings, log, store)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.grpc_address = ""
        self.failure: BaseException | None = None
        ui = folder / "ui"
        config = uvicorn.Config(
            create_api(self.parts.gateway, ui if ui.is_dir() else None),
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        running = await grpc_server.serve_async(
            "127.0.0.1:0", [grpc_service.SERVICE], lambda s: grpc_service.register(s, self.parts.gateway)
        )
        self.grpc_address = running.address
        await self.server.serve(sockets=[self.listener])
        await running.stop(0.1)
        await self.parts.close()

    def _died(self, error: BaseException) -> None:
        self.failure = error

    def start(self) -> RunningGateway:
        self.followers = self.parts.start_following(self._died)
        self.thread.start()
        wait_for(lambda: self.server.started, "the gateway serves")
        return self

    def caught_up(self) -> None:
        wait_for(lambda: self.failure or self._nothing_left(), "the projection has caught up")
        assert self.failure is None

    def _nothing_left(self) -> bool:
        try:
            return self.parts.projector.lag() == 0
        except Transient:
            return False

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        for follower in self.followers:
            follower.join(5)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", timeout=30)


@pytest.fixture(scope="module")
def start_gateway(log: Any, store: Any, folder: Path) -> Iterator[Callable[..., RunningGateway]]:
    running: list[RunningGateway] = []

    def start(**settings: Any) -> RunningGateway:
        running.append(RunningGateway(log, store, folder, len(running), **settings).start())
        return running[-1]

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., RunningGateway]) -> RunningGateway:
    return start_gateway()


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


class Scheduler:
    """Answers every command of partition 0 as `decide` says, once for each request id."""

    def __init__(self, log: Any, script: Any) -> None:
        self.log = log
        self.script = script
        self.commands: list[inbox_pb2.Command] = []
        self.pools: list[inbox_pb2.PoolMessage] = []
        self.decide: Callable[[inbox_pb2.Command], list[events_pb2.WorkflowEvents]] = self.accept
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def accept(self, command: inbox_pb2.Command) -> list[events_pb2.WorkflowEvents]:
        run_id = command.trigger_run.run_id or "made-up"
        accepted = events_pb2.CommandAccepted(request_id=command.request_id, run_id=run_id, task_count=2)
        record = self.script.record(command.dag_id, "", events_pb2.WorkflowEvent(command_accepted=accepted))
        if command.WhichOneof("kind") != "trigger_run":
            return [record]
        return [self.script.created(command.dag_id, run_id), record]

    def reject(self, code: str, message: str) -> None:
        def decide(command: inbox_pb2.Command) -> list[events_pb2.WorkflowEvents]:
            rejected = events_pb2.CommandRejected(request_id=command.request_id, code=code, message=message)
            event = events_pb2.WorkflowEvent(command_rejected=rejected)
            return [self.script.record(command.dag_id, "", event)]

        self.decide = decide

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        count = self.log.partition_count(INBOX)
        reader = self.log.reader([(INBOX, n) for n in range(count)], "earliest")
        seen: set[str] = set()
        while not self._stop.is_set():
            for record in reader.poll(100, 0.05):
                message = record.decode(inbox_pb2.InboxMessage)
                if message.WhichOneof("kind") == "pool":
                    self.pools.append(message.pool)
                elif message.command.request_id not in seen:
                    seen.add(message.command.request_id)
                    self.commands.append(message.command)
                    write_events(self.log, *self.decide(message.command))
        reader.close()


@pytest.fixture(scope="module")
def scheduler(log: Any, script: Any) -> Iterator[Scheduler]:
    scheduler = Scheduler(log, script)
    scheduler.start()
    yield scheduler
    scheduler.stop()


class Executor(executor_pb2_grpc.ExecutorServiceServicer):
    """Holds one growing log."""

    def __init__(self) -> None:
        self.text = b""
        self.final = False
        # What is left out of the text: from, to, and the line that says so.
        self.gap: tuple[int, int, bytes] | None = None
        self.changed = threading.Condition()

    def append(self, text: str, final: bool = False) -> None:
        with self.changed:
            self.text += text.encode()
            self.final = self.final or final
            self.changed.notify_all()

    def TailLog(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        offset = request.offset
        while context.is_active():
            with self.changed:
                if self.gap and self.gap[0] <= offset < self.gap[1]:
                    yield executor_pb2.TailLogResponse(offset=offset, text=self.gap[2])
                    offset = self.gap[1]
                end = self.gap[0] if self.gap and offset < self.gap[0] else len(self.text)
                part, final = self.text[offset:end], self.final and end == len(self.text)
                if not part and not final and request.follow:
                    self.changed.wait(0.2)
                    continue
            yield executor_pb2.TailLogResponse(offset=offset, text=part, final=final)
            offset += len(part)
            if final or (not request.follow and offset == len(self.text)):
                return


@pytest.fixture(scope="module")
def executor() -> Iterator[tuple[Executor, str]]:
    service = Executor()
    server = grpc_server.serve(
        "127.0.0.1:0",
        ["spinner.executor.v1.ExecutorService"],
        lambda s: executor_pb2_grpc.add_ExecutorServiceServicer_to_server(service, s),
    )
    yield service, server.address
    server.stop(0.1)


@pytest.fixture(scope="module")
def channel(gateway: RunningGateway) -> Iterator[grpc.Channel]:
    with contextlib.closing(grpc.insecure_channel(gateway.grpc_address)) as channel:
        yield channel


@pytest.fixture(scope="module")
def put() -> Any:
    """Writes events and other records."""
    return write_events


@pytest.fixture(scope="module")
def put_records() -> Any:
    return write


@pytest.fixture(scope="module")
def eventually() -> Any:
    return wait_for
