"""Frames between a bounded runner and its fork server: a JSON header and a body of bytes.

Layout: `<u32 header length><u32 body length><header><body>`, little-endian. Nothing is pickled, because
the body of an answer is written by a process that ran user code.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

_PREFIX = struct.Struct("<II")


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """Returns one frame."""
    encoded = json.dumps(header).encode()
    return _PREFIX.pack(len(encoded), len(body)) + encoded + body


class FrameBuffer:
    """Collects bytes and hands out complete frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Adds bytes; yields (header, body) of each frame that is complete now."""
        self._data += data
        while len(self._data) >= _PREFIX.size:
            header_length, body_length = _PREFIX.unpack_from(self._data)
            end = _PREFIX.size + header_length + body_length
            if len(self._data) < end:
                return
            middle = _PREFIX.size + header_length
            header, body = json.loads(self._data[_PREFIX.size : middle]), bytes(self._data[middle:end])
            del self._data[:end]
            yield header, body


def receive(connection: socket.socket, buffer: FrameBuffer) -> list[tuple[dict[str, Any], bytes]] | None:
    """Reads what is there; blocks when nothing is. Returns the complete frames, or None at the end of the stream."""
    try:
        data = connection.recv(1 << 18)
    except OSError:
        return None
    return list(buffer.feed(data)) if data else None
