"""TaskRuntime over a Unix socket: frames as ARCHITECTURE ("Workers") says, no gRPC in the worker.

The first frame of a connection is the try's token; its answer is an empty status frame. Each owned partition has a
socket of its own at a path that doesn't change, so a worker that loses its connection finds the next owner there.

A connection of an idle worker (adapters.local.idle) begins without a try: its first frame says who waits, and once the
worker has been assigned a try, the answers to GetWork and Start are sent without being asked for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from spinner.runtime import local_frames
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_servicekit.errors import Rejected

from spinner_executor.adapters.local.idle import Idle, Pool
from spinner_executor.api.runtime import Runtime

_log = logging.getLogger(__name__)
MAX_FRAME = 32 * 1024 * 1024
_LENGTH = struct.Struct("<I")
_OK = b"\0"


def _status(code: str) -> int:
    return int(grpc.StatusCode[code].value[0])


class _Connection(asyncio.Protocol):
    def __init__(self, runtime: Runtime, connections: set[_Connection]) -> None:
        self._runtime = runtime
        self._connections = connections
        self._buffer = bytearray()
        self._token: str | None = None
        self._transport: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                _log.warning("a worker sent a frame of %d bytes: its connection is closed", length)
                self._transport.close()
                return
            if len(self._buffer) < 4 + length:
                return
            frame = bytes(memoryview(self._buffer)[4 : 4 + length])
            del self._buffer[: 4 + length]
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        if self._token is None:
            self._greeted(frame)
            return
        self._asked(frame)

    def _greeted(self, frame: bytes) -> None:
        self._token = frame.decode(errors="replace")
        try:
            self._runtime.authenticated(self._token)
            self._send(_OK)
        except Rejected as rejected:
            self._refuse(rejected)
            self._transport.close()

    def _asked(self, frame: bytes) -> None:
        self._spawn(self._answer(frame, self._last))

    def _spawn(self, answering: Coroutine[Any, Any, None]) -> None:
        self._last = task = asyncio.get_running_loop().create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, frame: bytes, previous: asyncio.Task[None] | None) -> None:
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        try:
            size = frame[0]
            name = frame[1 : 1 + size].decode()
            kind = self._runtime.methods[name][0]
            request = kind.FromString(frame[1 + size :])
        except (IndexError, KeyError, UnicodeDecodeError, DecodeError) as error:
            self._refuse(Rejected("UNIMPLEMENTED", f"no such call: {error}"))
            return
        try:
            answer = await self._runtime.call(name, self._token or "", request)
            self._send(_OK + answer.SerializeToString())
        except Rejected as rejected:
            self._refuse(rejected)
        except Exception as error:  # noqa: BLE001 - a bug must not hang the worker
            _log.exception("bug in %s", name)
            self._refuse(Rejected("INTERNAL", f"{type(error).__name__}: {error}"))

    def _refuse(self, rejected: Rejected) -> None:
        if rejected.code == "UNAVAILABLE":  # hang up: the worker looks for the partition's owner
            self._transport.close()
        else:
            self._send(bytes([_status(rejected.code)]) + str(rejected).encode())

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_LENGTH.pack(len(body)) + body)


_UNASKED = (
    local_frames.encode_request("GetWork", rt.GetWorkRequest()),
    local_frames.encode_request("Start", rt.StartRequest()),
)


class _IdleConnection(_Connection):
    """A worker that waits for a try, which the back end gives to it."""

    def __init__(self, sockets: WorkerSockets, runtime: Runtime, pool: Pool, connections: set[_Connection]) -> None:
        super().__init__(runtime, connections)
        self._sockets = sockets
        self._pool = pool
        self._idle: Idle | None = None
        self._on_lost: Callable[[], None] | None = None

    def _greeted(self, frame: bytes) -> None:
        if self._idle is None:
            self._idle = self._pool.came(frame, self)
        if self._idle is None:
            self._transport.close()

    def assign(self, assignment: bytes, token: str, partition: int, on_lost: Callable[[], None]) -> None:
        self._connections.discard(self)
        self._connections = self._sockets.of(partition)
        self._connections.add(self)
        self._token, self._on_lost = token, on_lost
        self._transport.write(_LENGTH.pack(len(assignment)) + assignment)
        self._spawn(self._answer_unasked())

    async def _answer_unasked(self) -> None:
        for request in _UNASKED:
            await self._answer(request, None)

    def _asked(self, frame: bytes) -> None:
        self._on_lost = None
        super()._asked(frame)

    def close(self) -> None:
        self._on_lost = None  # its next executor will see what became of it
        super().close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._idle is not None:
            self._pool.left(self._idle)
        if self._on_lost is not None:
            self._on_lost()


_IDLE = -1


class WorkerSockets:
    """The sockets of the owned partitions. `paths` by partition are stable over restarts. Runs on the event loop."""

    def __init__(self, runtime: Runtime, paths: dict[int, str]) -> None:
        self._runtime = runtime
        self._paths = paths
        self._open: dict[int, tuple[asyncio.Task[asyncio.Server], set[_Connection]]] = {}

    def open(self, partition: int) -> None:
        """Takes the partition's path over, from whoever had it; workers can connect when this returns."""
        connections: set[_Connection] = set()
        self._listen(partition, self._paths[partition], connections, lambda: _Connection(self._runtime, connections))

    def open_idle(self, pool: Pool) -> None:
        """Lets idle workers connect, at the pool's path."""
        waiting: set[_Connection] = set()
        self._listen(_IDLE, pool.path, waiting, lambda: _IdleConnection(self, self._runtime, pool, waiting))

    def of(self, partition: int) -> set[_Connection]:
        """The connections of an owned partition's workers; a set of its own when it is not owned."""
        found = self._open.get(partition)
        return found[1] if found is not None else set()

    def _listen(
        self, partition: int, path: str, connections: set[_Connection], made: Callable[[], _Connection]
    ) -> None:
        self.close(partition)
        temporary = f"{path}.{id(connections):x}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(temporary)
        Path(temporary).chmod(0o600)
        listener.listen(512)
        Path(temporary).rename(path)
        serving = asyncio.get_running_loop().create_unix_server(made, sock=listener)
        self._open[partition] = (asyncio.ensure_future(serving), connections)

    def close(self, partition: int) -> None:
        """Hangs up on the partition's workers; they look for its next owner."""
        found = self._open.pop(partition, None)
        if found is not None:
            found[0].add_done_callback(lambda task: None if task.cancelled() else task.result().close())
            for connection in list(found[1]):
                connection.close()

    def close_idle(self) -> None:
        """Sends idle workers away."""
        self.close(_IDLE)
