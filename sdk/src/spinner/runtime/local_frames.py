"""Frames of the local socket between a worker and its executor; both sides use this module.

A frame is ``<u32 little-endian length><payload>``. A request's payload is one byte with the length of the method's
name, the name ("Start"), and the request message. An answer's payload is one status byte (0, or a gRPC status code)
and the answer message, or a UTF-8 error. One request at a time on a socket; the token is implied by the socket.
"""

from __future__ import annotations

import socket
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import Message
from spinner_proto.runtime.v1 import runtime_pb2

if TYPE_CHECKING:
    from asyncio import StreamReader

MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class Status(IntEnum):
    """gRPC's status codes, by number."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class FrameError(Exception):
    """The other side sent bytes that are no frame."""


class Method(NamedTuple):
    """Message classes of one call."""

    request: type[Message]
    response: type[Message]


METHODS: dict[str, Method] = {
    method.name: Method(getattr(runtime_pb2, method.input_type.name), getattr(runtime_pb2, method.output_type.name))
    for method in runtime_pb2.DESCRIPTOR.services_by_name["TaskRuntimeService"].methods
}


def frame(payload: bytes) -> bytes:
    """The payload with its length. Raises FrameError above the limit."""
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"A frame of {len(payload)} bytes is larger than the limit of {MAX_FRAME_BYTES}.")
    return _LENGTH.pack(len(payload)) + payload


def encode_request(method: str, request: Message) -> bytes:
    """Payload of a request."""
    name = method.encode("ascii")
    return bytes([len(name)]) + name + request.SerializeToString()


def decode_request(payload: bytes) -> tuple[str, Message]:
    """Method and message of a request's payload. Raises FrameError."""
    if not payload or len(payload) < 1 + payload[0]:
        raise FrameError("A request frame ends before the name of its method.")
    name = payload[1 : 1 + payload[0]].decode("ascii", "replace")
    method = METHODS.get(name)
    if method is None:
        raise FrameError(f"There is no method {name!r}.")
    request = method.request()
    try:
        request.ParseFromString(payload[1 + payload[0] :])
    except Exception as error:
        raise FrameError(f"The request of {name} cannot be read: {error}") from error
    return name, request


def encode_answer(answer: Message) -> bytes:
    """Payload of a good answer."""
    return b"\x00" + answer.SerializeToString()


def encode_error(status: int, message: str) -> bytes:
    """Payload of a refusal; ``status`` is a gRPC status code other than 0."""
    return bytes([status]) + message.encode()


def decode_answer(payload: bytes) -> tuple[Status, bytes]:
    """Status, and the answer's bytes or the error's text. Raises FrameError."""
    if not payload:
        raise FrameError("An answer frame is empty.")
    try:
        return Status(payload[0]), payload[1:]
    except ValueError:
        return Status.UNKNOWN, payload[1:]


def send_frame(sock: socket.socket, payload: bytes) -> None:
    """Writes one frame. Blocks. Raises OSError."""
    sock.sendall(frame(payload))


def receive_frame(sock: socket.socket) -> bytes | None:
    """The next payload; None when the other side has closed. Blocks. Raises OSError, FrameError."""
    head = _receive_exactly(sock, _LENGTH.size)
    if head is None:
        return None
    payload = _receive_exactly(sock, _checked_length(head))
    if payload is None:
        raise FrameError("The connection ended in the middle of a frame.")
    return payload


def _receive_exactly(sock: socket.socket, count: int) -> bytes | None:
    if count == 0:
        return b""
    data = sock.recv(count)
    if len(data) == count:
        return data
    if not data:
        return None
    parts = bytearray(data)
    while len(parts) < count:
        data = sock.recv(min(count - len(parts), 1 << 20))
        if not data:
            raise FrameError("The connection ended in the middle of a frame.")
        parts += data
    return bytes(parts)


def _checked_length(head: bytes) -> int:
    length: int = _LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"A frame of {length} bytes is larger than the limit of {MAX_FRAME_BYTES}.")
    return length


async def read_frame(reader: StreamReader) -> bytes | None:
    """The next payload of an asyncio stream; None when the other side has closed. Raises FrameError, OSError."""
    head = await _read_exactly(reader, _LENGTH.size)
    if head is None:
        return None
    payload = await _read_exactly(reader, _checked_length(head))
    if payload is None:
        raise FrameError("The connection ended in the middle of a frame.")
    return payload


async def _read_exactly(reader: StreamReader, count: int) -> bytes | None:
    try:
        return await reader.readexactly(count)
    except EOFError as error:
        if not getattr(error, "partial", b""):
            return None
        raise FrameError("The connection ended in the middle of a frame.") from error
