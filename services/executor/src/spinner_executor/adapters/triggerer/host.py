"""Triggerer processes for executors of other machines: one for each connection, ended with it.

User code has none of this service's secrets. It keeps bundles that executors sent it, bounded as caches of workers are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import signal
import sys
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from spinner.runtime import cache

from spinner_executor.adapters.local.process import without_secrets
from spinner_executor.adapters.triggerer import tunnel
from spinner_executor.adapters.triggerer.ledger import Ledger, new_descriptor
from spinner_executor.adapters.triggerer.tunnel import Kind, frame, read

_log = logging.getLogger(__name__)
_HELLO_SECONDS = 20.0
_LEDGER_SECONDS = 0.25
_STACK_SECONDS = 0.4
_STACK_LOOK_SECONDS = 0.02


class Host:
    """Runs on the event loop. `key`: what proofs are made with; `folder`: of bundles."""

    def __init__(self, key: str, folder: Path) -> None:
        self._key = key
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, address: str) -> str:
        """Listens at "host:port" (port 0 picks one); returns where."""
        host, _, port = address.rpartition(":")
        self._server = await asyncio.start_server(self._accept, host.strip("[]"), int(port), limit=tunnel.MAX_FRAME)
        name = self._server.sockets[0].getsockname()
        return f"{name[0]}:{name[1]}"

    async def close(self) -> None:
        """Ends all processes; executors start their triggers elsewhere."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a stream's callback is a task
        self._connections.add(task)
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = await self._hello(reader, writer)
            if hello is not None:
                async with self._bundle(str(hello["bundle"]), reader, writer) as folder:
                    await _Process(reader, writer).run(folder, int(hello["bytes"]))
        except (EOFError, ConnectionError, TimeoutError):
            pass
        except (ValueError, KeyError, OSError, tarfile.TarError) as error:
            _log.warning("a triggerer could not be given to an executor: %s", error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str | int] | None:
        challenge = os.urandom(32)
        writer.write(frame(Kind.CHALLENGE, challenge))
        kind, content = await read(reader)
        hello: dict[str, str | int] = json.loads(content) if kind is Kind.HELLO else {}
        if hmac.compare_digest(str(hello.get("proof", "")), tunnel.proof(self._key, challenge)):
            return hello
        _log.warning("an executor with another SPINNER_SECRET_KEY was refused")
        writer.write(frame(Kind.REFUSED, b"it has another SPINNER_SECRET_KEY than this executor"))
        await writer.drain()
        return None

    @contextlib.asynccontextmanager
    async def _bundle(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[str]:
        """The folder of a bundle, which stays until then; sent by the executor when it isn't here."""
        if not name:
            yield ""
            return
        if name != Path(name).name or name.startswith("."):
            raise ValueError(f"{name!r} is no bundle's name")
        here = cache.hold(self._folder / "bundles" / name)
        if here is not None:
            held = here
        else:
            writer.write(frame(Kind.NEED))
            with tempfile.TemporaryFile() as packed:
                while (piece := (await read(reader))[1]) != b"":
                    packed.write(piece)
                packed.seek(0)
                make = _unpacker(packed)
                _, held = await asyncio.to_thread(cache.held_entry, self._folder, "bundles", name, make)
        try:
            yield str(self._folder / "bundles" / name)
        finally:
            os.close(held)


def _unpacker(packed: IO[bytes]) -> cache.Maker:
    def make(folder: Path) -> None:
        with tarfile.open(fileobj=packed, mode="r:") as archive:
            archive.extractall(folder, filter="data")

    return make


class _Process:
    """One process and the connection that it is for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, folder: str, limit_bytes: int) -> None:
        descriptor, stack = new_descriptor(), _scratch()
        ledger = Ledger(descriptor)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "spinner_executor.adapters.triggerer", folder,
                str(descriptor), str(stack), str(limit_bytes),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
                env=without_secrets(), pass_fds=(descriptor, stack),
            )  # fmt: skip
        finally:
            os.close(descriptor)
        told = asyncio.create_task(self._tell_ledger(ledger))
        heard = asyncio.create_task(self._hear(stack))
        spoken = asyncio.create_task(self._speak())
        try:
            self._writer.write(frame(Kind.READY))
            await asyncio.wait({heard, spoken}, return_when=asyncio.FIRST_COMPLETED)
            if spoken.done() and not heard.done():
                status = await process.wait()
                self._writer.write(_content(ledger, 0))
                self._writer.write(frame(Kind.EXIT, str(status).encode()))
                await self._writer.drain()
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            for task in (told, heard, spoken):
                task.cancel()
            await asyncio.gather(told, heard, spoken, return_exceptions=True)
            await process.wait()
            ledger.close()
            os.close(stack)

    async def _hear(self, stack: int) -> None:
        """What the executor says, until it hangs up."""
        assert self._process is not None and self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                kind, content = await read(self._reader)
                if kind is Kind.IN:
                    self._process.stdin.write(content)
                    await self._process.stdin.drain()
                elif kind is Kind.STACK:
                    self._writer.write(frame(Kind.STACK, await self._stack(stack)))

    async def _speak(self) -> None:
        """What the process says, until it ends."""
        assert self._process is not None and self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        while piece := await self._process.stdout.read(tunnel.PIECE):
            self._writer.write(frame(Kind.OUT, piece))
            await self._writer.drain()

    async def _tell_ledger(self, ledger: Ledger) -> None:
        assert self._process is not None  # noqa: S101 - it was started
        earlier = b""
        while True:
            content = _content(ledger, _resident(self._process.pid))
            if content != earlier:
                self._writer.write(content)
                earlier = content
            await asyncio.sleep(_LEDGER_SECONDS)

    async def _stack(self, file: int) -> bytes:
        assert self._process is not None  # noqa: S101 - it was started
        begun, loop = os.fstat(file).st_size, asyncio.get_running_loop()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        until, text = loop.time() + _STACK_SECONDS, b""
        while loop.time() < until:
            await asyncio.sleep(_STACK_LOOK_SECONDS)
            fresh = os.pread(file, 1 << 20, begun)
            if fresh and fresh == text:
                break
            text = fresh
        return text


def _content(ledger: Ledger, resident_bytes: int) -> bytes:
    return frame(Kind.LEDGER, zlib.compress(ledger.content(resident_bytes), 1))


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _scratch() -> int:
    """A file of its own without a name."""
    descriptor, path = tempfile.mkstemp(prefix="spinner-triggerer-")
    os.unlink(path)  # noqa: PTH108
    return descriptor
