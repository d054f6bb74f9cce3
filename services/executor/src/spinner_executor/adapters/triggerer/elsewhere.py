"""The executor's side of a triggerer on another machine: the same arguments and descriptors as the real process.

It runs no user code: it passes stdin and stdout on, keeps the ledger a copy of the host's, and on SIGUSR1 fetches what
the process is doing. It ends as the process ends, with HOST_LOST when the host is gone, and when its stdin does. Hosts
are asked in random order, again and again, each of its addresses; bundles come from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tarfile
import tempfile
import threading
import zlib
from pathlib import Path

from spinner_executor.adapters.triggerer import tunnel
from spinner_executor.adapters.triggerer.ledger import Ledger
from spinner_executor.adapters.triggerer.tunnel import HOST_LOST, Kind, frame, read

_CONNECT_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5


class _Lost(Exception):  # noqa: N818 - the host, not an error
    """No host has the process."""


async def _connect(folder: str, limit_bytes: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose other end has the bundle and starts the process. Raises _Lost after a minute."""
    why, until = "", asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while asyncio.get_running_loop().time() < until:
        addresses = [address.strip() for address in os.environ[tunnel.ADDRESSES].split(",")]
        for address in random.sample(addresses, len(addresses)):
            try:
                return await _offer(address, folder, limit_bytes)
            except (OSError, EOFError, ValueError, _Lost) as error:
                why = f"{address}: {error or type(error).__name__}"
        await asyncio.sleep(_PAUSE_SECONDS)
    raise _Lost(f"no triggerer takes it: {why}")


async def _offer(address: str, folder: str, limit_bytes: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    # A name may stand for many hosts: each connection takes another one.
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=1)
    where, at = random.choice(found)[4][:2]  # noqa: S311 - spreads load only
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(str(where), int(at), limit=tunnel.MAX_FRAME)
    try:
        _, challenge = await read(reader)
        name = Path(folder).name if folder else ""
        hello = {"proof": tunnel.proof(os.environ[tunnel.KEY], challenge), "bundle": name, "bytes": limit_bytes}
        writer.write(frame(Kind.HELLO, json.dumps(hello).encode()))
        kind, content = await read(reader)
        if kind is Kind.NEED:
            await _send_files(writer, Path(folder))
            kind, content = await read(reader)
        if kind is not Kind.READY:
            raise _Lost(content.decode(errors="replace"))
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _send_files(writer: asyncio.StreamWriter, folder: Path) -> None:
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w:") as archive:
            archive.add(folder, arcname=".")
        packed.seek(0)
        while piece := packed.read(tunnel.PIECE):
            writer.write(frame(Kind.FILES, piece))
            await writer.drain()
    writer.write(frame(Kind.FILES))


async def _serve(folder: str, ledger: Ledger, stack: int, limit_bytes: int) -> int:
    """Passes everything on; returns how the process ended."""
    loop = asyncio.get_running_loop()
    try:
        reader, writer = await _connect(folder, limit_bytes)
    except _Lost as error:
        sys.stderr.write(f"{error}\n")
        return HOST_LOST
    loop.add_signal_handler(signal.SIGUSR1, lambda: writer.write(frame(Kind.STACK)))

    def listen() -> None:
        while piece := os.read(0, tunnel.PIECE):
            loop.call_soon_threadsafe(writer.write, frame(Kind.IN, piece))
        os._exit(0)  # nobody is there any more

    threading.Thread(target=listen, name="executor", daemon=True).start()
    with contextlib.suppress(EOFError, OSError, ValueError):
        while True:
            kind, content = await read(reader)
            if kind is Kind.OUT:
                while content:
                    content = content[os.write(1, content) :]
            elif kind is Kind.LEDGER:
                ledger.take(zlib.decompress(content))
            elif kind is Kind.STACK:
                os.write(stack, content)
            elif kind is Kind.EXIT:
                return int(content)
    sys.stderr.write("the triggerer's machine is gone\n")
    return HOST_LOST


def main() -> None:
    # Asked for before there is an answer: nothing to tell.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    folder, (ledger, stack, limit) = sys.argv[1], map(int, sys.argv[2:5])
    status = asyncio.run(_serve(folder, Ledger(ledger), stack, limit))
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main()
