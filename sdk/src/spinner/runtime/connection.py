"""A worker's connection to its executor: one interface, two transports.

Calls are serialised by a lock, so that the heartbeat thread and the main thread can share a connection. While the main
thread is inside a call, a cancellation is held back until the call is done, so that no frame is cut in half.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from spinner.exceptions import SpinnerException
from spinner.runtime import local_frames
from spinner.runtime.local_frames import Status

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")


class CallError(SpinnerException):
    """The executor refused a call, or is gone. ``status`` is gRPC's code."""

    def __init__(self, method: str, status: Status, message: str) -> None:
        super().__init__(f"{method}: {message} ({status.name})")
        self.method = method
        self.status = status
        self.message = message


class Connection(Protocol):
    """What the runtime needs of a transport."""

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """One call of TaskRuntimeService. Blocks; thread-safe. Raises CallError."""

    def close(self) -> None:
        """Ends the connection."""


class Shield:
    """Holds back a cancellation while the main thread must not be interrupted."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: Callable[[], None] | None = None
        self._main = threading.main_thread()

    def interrupt(self, action: Callable[[], None]) -> None:
        """Runs ``action`` now, or when the shield is lowered. Called by signal handlers in the main thread."""
        if self._depth:
            self._pending = action
        else:
            action()

    def __enter__(self) -> None:
        if threading.current_thread() is self._main:
            self._depth += 1

    def __exit__(self, *exc: object) -> None:
        if threading.current_thread() is not self._main:
            return
        self._depth -= 1
        if not self._depth and self._pending is not None:
            action, self._pending = self._pending, None
            action()


shield = Shield()


class LocalConnection:
    """Frames over a connected Unix socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """See :class:`Connection`."""
        try:
            with shield, self._lock:
                local_frames.send_frame(self._sock, local_frames.encode_request(method, request))
                payload = local_frames.receive_frame(self._sock)
        except (OSError, local_frames.FrameError) as error:
            raise CallError(method, Status.UNAVAILABLE, str(error)) from error
        if payload is None:
            raise CallError(method, Status.UNAVAILABLE, "The executor has closed the connection.")
        status, body = local_frames.decode_answer(payload)
        if status is not Status.OK:
            raise CallError(method, status, body.decode("utf-8", "replace"))
        answer = response()
        answer.ParseFromString(body)
        return answer

    def close(self) -> None:
        """See :class:`Connection`."""
        self._sock.close()


class GrpcConnection:
    """gRPC with the try's token. Calls wait for an executor that is away for up to ``patience`` seconds."""

    def __init__(self, address: str, token: str, patience: float = 60.0) -> None:
        import grpc

        from spinner_proto.runtime.v1.runtime_pb2_grpc import TaskRuntimeServiceStub

        self._error: type[Exception] = grpc.RpcError
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
        )
        self._stub: Any = TaskRuntimeServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._patience = patience

    def call(self, method: str, request: Message, response: type[M]) -> M:
        """See :class:`Connection`."""
        with shield:
            try:
                answer: M = getattr(self._stub, method)(
                    request, metadata=self._metadata, timeout=self._patience, wait_for_ready=True
                )
            except self._error as error:
                code: Any = getattr(error, "code", lambda: None)()
                number = code.value[0] if code is not None else int(Status.UNKNOWN)
                details = getattr(error, "details", lambda: str(error))()
                raise CallError(method, Status(number), details or str(error)) from error
        return answer

    def close(self) -> None:
        """See :class:`Connection`."""
        self._channel.close()
