"""Between an executor and a triggerer on another machine: frames over one TCP connection for each process.

    <u32 little-endian length of what follows> <kind> <content>

The host begins with a random CHALLENGE; the executor's side answers by HELLO (JSON: proof, bundle, bytes), and sends
the bundle's files (FILES, a tar in pieces, the last one empty) when the host has NEED of them. After READY it is the
process's stdin (IN), stdout (OUT), ledger (LEDGER, deflated), stack (STACK, asked for and answered) and end (EXIT).
Whoever hangs up ends the process. The proof shows that both have the same SPINNER_SECRET_KEY; nothing is encrypted.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
import struct

ADDRESSES, KEY = "SPINNER_TRIGGERERS", "SPINNER_TRIGGERER_KEY"
# The exit status of the executor's side when the host is gone, and the process with it: no trigger's fault.
HOST_LOST = 75
MAX_FRAME = 64 << 20
PIECE = 256 * 1024
_LENGTH = struct.Struct("<I")


class Kind(enum.IntEnum):
    CHALLENGE = 1
    HELLO = 2
    NEED = 3
    FILES = 4
    READY = 5
    IN = 6
    OUT = 7
    LEDGER = 8
    STACK = 9
    EXIT = 10
    REFUSED = 11


def variables(addresses: str, secret_key: str) -> dict[str, str]:
    """What the executor's side is told by its environment; nothing without addresses."""
    return {ADDRESSES: addresses, KEY: key(secret_key)} if addresses.strip() else {}


def key(secret_key: str) -> str:
    """What proofs are made with; says nothing about the secret key."""
    return hmac.digest(secret_key.encode(), b"spinner triggerer", "sha256").hex()


def proof(made_with: str, challenge: bytes) -> str:
    return hmac.new(made_with.encode(), challenge, hashlib.sha256).hexdigest()


def frame(kind: Kind, content: bytes = b"") -> bytes:
    return _LENGTH.pack(len(content) + 1) + bytes([kind]) + content


async def read(reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
    """The next frame. Raises EOFError at the end, ConnectionError, and ValueError for what is none."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if not 1 <= length <= MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        content = await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise EOFError from error
    return Kind(content[0]), content[1:]
