"""A worker's connection to its executor: one interface, two transports.

Calls are serialised by a lock, so that the heartbeat thread and the main thread can share a connection. While the main
thread is inside a call, a cancellation is held back until the call is done, so that no frame is cut in half.

An executor may go away and come back as another process: a call is repeated until it is answered or the lease is over.
Every answer renews the lease. A worker whose lease is over, or whose token is stale, ends at once, with everything it
started: another worker may run its try from then on.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from spinner_proto.runtime.v1 import runtime_pb2 as pb

from spinner.exceptions import SpinnerException
from spinner.runtime import local_frames, processes
from spinner.runtime.local_frames import Status

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

# Exit statuses that the executor tells apart.
EXIT_LEASE_LOST = 75
EXIT_START_REFUSED = 76
_RETRY_SECONDS = 0.05
_SLOWEST_RETRY_SECONDS = 2.0
_CONNECT_SECONDS = 3.0
_READY_SECONDS = 10.0
# A worker that was not granted its start yet runs no user code, so it may wait longer for an executor.
_UNSTARTED_LEASE_SECONDS = 300.0
_LONGEST_CALL_SECONDS = 30.0


class CallError(SpinnerException):
    """The executor refused a call, or is gone. ``status`` is gRPC's code."""

    def __init__(self, method: str, status: Status, message: str) -> None:
        super().__init__(f"{method}: {message} ({status.name})")
        self.method = method
        self.status = status
        self.message = message


class Connection(Protocol):
    """What the runtime needs of a transport."""

    lease: Lease

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """One call of TaskRuntimeService. Blocks; thread-safe. Raises CallError."""

    def begin(self, worker: str) -> tuple[pb.GetWorkResponse, pb.StartResponse]:
        """GetWork and Start, sent together where the transport can. Raises CallError."""

    def close(self) -> None:
        """Ends the connection."""


class Lease:
    """How long a worker may go on without an answer. ``lost`` is called when it is over, and must not return."""

    def __init__(self, seconds: float = 30.0, lost: Callable[[str], NoReturn] | None = None) -> None:
        self.seconds = seconds
        self.lost = lost or end_now
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """An answer came."""
        self._renewed = time.monotonic()

    def check(self) -> None:
        """Ends the worker when the lease is over."""
        if time.monotonic() - self._renewed > self.seconds:
            self.lost(f"no answer of the executor for {self.seconds:.0f} s")


class Shield:
    """Holds back a cancellation while the main thread must not be interrupted."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: Callable[[], None] | None = None

    def interrupt(self, action: Callable[[], None]) -> None:
        """Runs ``action`` now, or when the shield is lowered. Called by signal handlers in the main thread."""
        if self._depth:
            self._pending = action
        else:
            action()

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._depth += 1

    def __exit__(self, *exc: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._depth -= 1
        if not self._depth and self._pending is not None:
            action, self._pending = self._pending, None
            action()


shield = Shield()


class LocalConnection:
    """Frames over the executor's Unix socket at ``path``; the first frame of each connection is the token."""

    def __init__(self, path: str, token: bytes, lease: Lease | None = None) -> None:
        self._path = path
        self._token = token
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        # The answers to `begin` come on it without being asked for.
        self._answered_unasked = False
        self.lease = lease or Lease()

    def adopt(self, sock: socket.socket) -> None:
        """Goes on with a connection on which the executor knows the try already, and sends its first answers."""
        self._sock, self._answered_unasked = sock, True

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """See :class:`Connection`."""
        (said,) = self._calls([(method, request)])
        return self._answer(method, said, response)

    def begin(self, worker: str) -> tuple[pb.GetWorkResponse, pb.StartResponse]:
        """See :class:`Connection`."""
        work, start = self._calls([("GetWork", pb.GetWorkRequest()), ("Start", pb.StartRequest(worker=worker))])
        return self._answer("GetWork", work, pb.GetWorkResponse), self._answer("Start", start, pb.StartResponse)

    def _calls(self, requests: Sequence[tuple[str, Message]]) -> list[tuple[Status, bytes]]:
        """Sends requests, and again until all are answered or the lease is over."""
        payloads = [local_frames.encode_request(method, request) for method, request in requests]
        frames = b"".join(local_frames.frame(payload) for payload in payloads)
        # An executor that doesn't answer a heartbeat hangs and may have a successor at the same path; other calls may
        # take their time.
        seconds = self.lease.seconds / 3 if requests[0][0] == "Heartbeat" else self.lease.seconds
        with shield, self._lock:
            while True:
                try:
                    answers = self._exchange(frames, len(requests), seconds)
                    break
                except (OSError, local_frames.FrameError):
                    self._drop()
                    self.lease.check()
                    time.sleep(_RETRY_SECONDS)
        self.lease.renew()
        return answers

    def _answer(self, method: str, said: tuple[Status, bytes], response: type[M]) -> M:
        status, body = said
        if status is Status.PERMISSION_DENIED:
            self.lease.lost(body.decode("utf-8", "replace"))
        if status is not Status.OK:
            raise CallError(method, status, body.decode("utf-8", "replace"))
        answer = response()
        answer.ParseFromString(body)
        return answer

    def _exchange(self, frames: bytes, count: int, seconds: float) -> list[tuple[Status, bytes]]:
        greeted = self._sock is not None
        unasked, self._answered_unasked = self._answered_unasked, False
        if self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._sock.settimeout(self.lease.seconds / 3)
            self._sock.connect(self._path)
            # With the first requests: the greeting costs no round trip of its own.
            frames = local_frames.frame(self._token) + frames
        self._sock.settimeout(seconds)
        if not unasked:
            self._sock.sendall(frames)
        if not greeted:
            greeting, refusal = self._receive(self._sock)
            if greeting is not Status.OK:
                return [(greeting, refusal)] * count
        return [self._receive(self._sock) for _ in range(count)]

    @staticmethod
    def _receive(sock: socket.socket) -> tuple[Status, bytes]:
        answer = local_frames.receive_frame(sock)
        if answer is None:
            raise ConnectionResetError("The executor has closed the connection.")
        return local_frames.decode_answer(answer)

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def close(self) -> None:
        """See :class:`Connection`."""
        self._drop()


class GrpcConnection:
    """gRPC with the try's token, to whichever executor owns the try.

    ``addresses`` are ``host:port``, comma-separated; a name may stand for many executors (a headless Service). One
    after the other is asked until one neither is away nor says that another is the owner; a round that finds none is
    repeated, ever more slowly, until the lease is over. ``on_moved`` is called after the owner changed.
    """

    def __init__(self, addresses: str, token: str, lease: Lease | None = None) -> None:
        import grpc

        self._grpc = grpc
        self._addresses = [address.strip() for address in addresses.split(",") if address.strip()]
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._lock = threading.Lock()
        self._targets: list[str] = []
        self._target = ""
        self._answered = ""
        self._channel: Any = None
        self._stub: Any = None
        self._fruitless = 0
        self.on_moved: Callable[[], None] = lambda: None
        self.lease = lease or Lease(_UNSTARTED_LEASE_SECONDS)

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """See :class:`Connection`."""
        # An executor that doesn't answer a heartbeat hangs and may have a successor; other calls may take their time.
        longest = min(self.lease.seconds, _LONGEST_CALL_SECONDS)
        seconds = longest / 3 if method == "Heartbeat" else longest
        while True:
            stub: Any = None
            with shield:
                try:
                    target, stub = self._connected()
                    answer: M = getattr(stub, method)(request, metadata=self._metadata, timeout=seconds)
                    self._is_owner(target)
                    return answer
                except self._grpc.RpcError as error:
                    status, text = _grpc_status(error)
                except (OSError, self._grpc.FutureTimeoutError) as error:
                    status, text = Status.UNAVAILABLE, str(error)
            # CANCELLED: another thread has left this executor meanwhile.
            if status in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED):
                self.lease.check()
                time.sleep(self._leave(stub))
                continue
            self.lease.renew()
            if status is Status.PERMISSION_DENIED:
                self.lease.lost(text)
            raise CallError(method, status, text)

    def begin(self, worker: str) -> tuple[pb.GetWorkResponse, pb.StartResponse]:
        """See :class:`Connection`."""
        work = self.call("GetWork", pb.GetWorkRequest(), pb.GetWorkResponse)
        return work, self.call("Start", pb.StartRequest(worker=worker), pb.StartResponse)

    def _connected(self) -> tuple[str, Any]:
        from spinner_proto.runtime.v1.runtime_pb2_grpc import TaskRuntimeServiceStub

        with self._lock:
            if self._stub is None:
                if not self._targets:
                    self._targets = self._resolved()
                self._target = self._targets.pop(0)
                host, _, port = self._target.rpartition(":")
                # gRPC tells nobody at once that an address refuses.
                socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
                channel = self._grpc.insecure_channel(
                    self._target,
                    options=[
                        ("grpc.max_receive_message_length", local_frames.MAX_FRAME_BYTES),
                        ("grpc.max_send_message_length", local_frames.MAX_FRAME_BYTES),
                        ("grpc.enable_http_proxy", 0),
                        ("grpc.use_local_subchannel_pool", 1),
                    ],
                )
                try:
                    self._grpc.channel_ready_future(channel).result(timeout=_READY_SECONDS)
                except BaseException:
                    channel.close()
                    raise
                self._channel, self._stub = channel, TaskRuntimeServiceStub(channel)
            return self._target, self._stub

    def _resolved(self) -> list[str]:
        """Every executor's address, the one that answered last at first; raises OSError when no name is known."""
        found: dict[str, None] = {}
        problem: OSError | None = None
        for address in self._addresses:
            host, _, port = address.rpartition(":")
            try:
                for *_, name in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM):
                    ip = str(name[0])
                    found[f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"] = None
            except OSError as error:
                problem = error
        if not found:
            raise problem or OSError("no address")
        return sorted(found, key=lambda target: (target != self._answered, random.random()))  # noqa: S311 - spreads load

    def _is_owner(self, target: str) -> None:
        self.lease.renew()
        self._fruitless = 0
        if target != self._answered:
            earlier, self._answered = self._answered, target
            if earlier:
                self.on_moved()

    def _leave(self, stub: Any) -> float:
        """Gives up the executor that did not answer, unless another thread has; returns how long to wait, seconds."""
        with self._lock:
            if stub is self._stub and stub is not None:
                self._channel.close()
                self._channel = self._stub = None
            if self._targets:
                return 0.0
            self._fruitless += 1
            longest = min(_RETRY_SECONDS * 1.5**self._fruitless, _SLOWEST_RETRY_SECONDS)
            return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load

    def close(self) -> None:
        """See :class:`Connection`."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = self._stub = None


def _grpc_status(error: Exception) -> tuple[Status, str]:
    code: Any = getattr(error, "code", lambda: None)()
    number = code.value[0] if code is not None else int(Status.UNKNOWN)
    details: Any = getattr(error, "details", lambda: None)()
    return Status(number), str(details or error)


def end_now(why: str) -> NoReturn:
    """Ends this process and all that it started, without a report."""
    os.write(2, f"The worker ends itself: {why}\n".encode())
    processes.kill_descendants()
    os._exit(EXIT_LEASE_LOST)
