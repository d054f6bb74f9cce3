"""TaskRuntime over a Unix socket: frames as ARCHITECTURE ("Workers") says, no gRPC in the worker.

The first frame of a connection is the try's token; its answer is an empty status frame. Each owned partition has a
socket of its own at a path that doesn't change, so a worker that loses its connection finds the next owner there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from spinner_servicekit.errors import Rejected

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
            self._token = frame.decode(errors="replace")
            try:
                self._runtime.authenticated(self._token)
                self._send(_OK)
            except Rejected as rejected:
                self._refuse(rejected)
                self._transport.close()
            return
        task = asyncio.get_running_loop().create_task(self._answer(frame, self._last))
        self._last = task
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


class WorkerSockets:
    """The sockets of the owned partitions. `paths` by partition are stable over restarts. Runs on the event loop."""

    def __init__(self, runtime: Runtime, paths: dict[int, str]) -> None:
        self._runtime = runtime
        self._paths = paths
        self._open: dict[int, tuple[asyncio.Task[asyncio.Server], set[_Connection]]] = {}

    def open(self, partition: int) -> None:
        """Takes the partition's path over, from whoever had it; workers can connect when this returns."""
        self.close(partition)
        connections: set[_Connection] = set()
        path = self._paths[partition]
        temporary = f"{path}.{id(connections):x}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(temporary)
        Path(temporary).chmod(0o600)
        listener.listen(512)
        Path(temporary).rename(path)
        serving = asyncio.get_running_loop().create_unix_server(
            lambda: _Connection(self._runtime, connections), sock=listener
        )
        self._open[partition] = (asyncio.ensure_future(serving), connections)

    def close(self, partition: int) -> None:
        """Hangs up on the partition's workers; they look for its next owner."""
        found = self._open.pop(partition, None)
        if found is not None:
            found[0].add_done_callback(lambda task: None if task.cancelled() else task.result().close())
            for connection in list(found[1]):
                connection.close()
