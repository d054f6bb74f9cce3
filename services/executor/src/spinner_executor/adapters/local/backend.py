"""The local back end: folders of tries, a fork server, and process groups.

    <data>/tries/<order partition>/<hash of the try key>/
                      log  worker-<name>.json  exit-<name>.json  end-<segment>.bin  saved
    <data>/trash/     removed folders on their way out
    <data>/place      made once: names this folder; part of every worker's name

A try's folder is made by its first worker, with its record in it, which also holds its token.

A worker's name holds the place and the machine's boot, so that an executor knows whether a worker's records would
be here. A try is given to an idle worker when one waits (`idle`); otherwise the fork server forks its worker. Ends come
from the fork server; a worker whose fork server is gone is watched by its process number and start time, once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import spinner
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_executor.adapters.backend import Launch, LaunchFailed, Observed, WorkerEvents
from spinner_executor.adapters.journal import SAVED
from spinner_executor.adapters.local.idle import Idle, Pool
from spinner_executor.adapters.local.process import (
    boot_id,
    kill_marked,
    kill_tree,
    signal_group,
    start_time,
    without_secrets,
)
from spinner_executor.adapters.local.worker import EXIT_NO_FOLDER, READY
from spinner_executor.domain.keys import folder_name
from spinner_executor.domain.model import Exit, WorkerState
from spinner_executor.domain.resources import cpus_of

_log = logging.getLogger(__name__)
_MAX_SOCKET_PATH = 96
_FORK_SECONDS = 20.0
WATCH_SECONDS = 1.0
_EMPTY_SECONDS = 1.0
_IDLE = "idle-"


def short_socket_path(folder: Path, name: str) -> str:
    """A Unix socket's path within the kernel's limit: in `folder`, or in a private temporary folder named after it."""
    path = folder / name
    if len(str(path)) <= _MAX_SOCKET_PATH:
        return str(path)
    digest = hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
    short = Path(tempfile.gettempdir()) / f"spinner-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise PermissionError(f"{short} belongs to another user; set a shorter SPINNER_EXECUTOR_DATA")
    return str(short / name)


def _sdk_fingerprint(entry: str) -> str:
    newest = max((path.stat().st_mtime_ns for path in Path(spinner.__path__[0]).rglob("*.py")), default=0)
    own = max(path.stat().st_mtime_ns for path in Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(f"{sys.executable} {entry} {newest} {own}".encode(), digest_size=6).hexdigest()


class LocalBackend:
    """`entry`: what a worker calls; `ahead`: workers forked ahead; `partition_of(key)`: a try's order partition.

    `niceness`: by how much workers give way to the services, 0 to 19.
    """

    name = "local"
    starts_at_once = True
    shares_files = True
    parallelism = 32

    def __init__(
        self,
        data: Path,
        entry: str,
        ahead: int,
        partition_of: Callable[[str], int],
        pool: Executor,
        niceness: int = 0,
    ) -> None:
        self._data = data
        self._tries = data / "tries"
        self._trash = data / "trash"
        self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._partition_of = partition_of
        self._pool = pool
        self._entry = entry
        self._ahead = ahead
        self._niceness = niceness
        self._socket_path = short_socket_path(data, f"fork-{_sdk_fingerprint(entry)}.sock")
        place_file = data / "place"
        if not place_file.exists():
            place_file.write_text(secrets.token_hex(8))
        self._place = hashlib.blake2b(f"{place_file.read_text()} {boot_id()}".encode(), digest_size=5).hexdigest()
        self.idle = Pool(short_socket_path(data, f"{_IDLE}{os.getpid()}.sock"))
        self._writer: asyncio.StreamWriter | None = None
        self._connecting = asyncio.Lock()
        self._forking: dict[str, asyncio.Future[int]] = {}
        self._watched: dict[str, tuple[str, int, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptying = False

    def folder(self, key: str) -> Path:
        return self._tries / str(self._partition_of(key)) / folder_name(key)

    def log_path(self, key: str) -> Path:
        return self.folder(key) / "log"

    def worker_name(self, order: TaskOrder, key: str) -> str:
        return f"local-{self._place}-{secrets.token_hex(6)}"

    def token(self, worker: str, partition: int) -> str:
        return f"{worker}.{partition}.{secrets.token_hex(16)}"

    def claimed(self, token: str) -> tuple[str, int]:
        worker, _, rest = token.partition(".")
        partition = rest.partition(".")[0]
        return (worker, int(partition)) if partition.isdecimal() else ("", -1)

    def proves(self, token: str, worker: str, expected: str) -> bool:
        return hmac.compare_digest(expected.encode(), token.encode())

    async def start(self, events: WorkerEvents) -> None:
        self._on_exit = events.exited
        self._remove_dead_sockets()
        await self._connected()
        self._spawn(self._watch())

    def _remove_dead_sockets(self) -> None:
        """Those of executors that are no more."""
        for path in Path(self.idle.path).parent.glob(f"{_IDLE}*.sock"):
            pid = path.stem.removeprefix(_IDLE)
            if pid.isdecimal() and start_time(int(pid)) is None:
                path.unlink(missing_ok=True)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is not None and not self._writer.is_closing():
                return self._writer
            for attempt in range(2):
                try:
                    reader, writer = await asyncio.open_unix_connection(self._socket_path)
                    break
                except OSError:
                    if attempt:
                        raise
                    await self._start_server()
            self._writer = writer
            writer.write(json.dumps({"op": "idle", "address": self.idle.path}).encode() + b"\n")
            self._spawn(self._listen(reader, writer))
            return writer

    async def _start_server(self) -> None:
        with contextlib.suppress(OSError):
            Path(self._socket_path).unlink()
        with (self._data / "forkserver.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "spinner_executor.adapters.local.forkserver",
                 self._socket_path, self._entry, str(self._ahead), str(self._niceness), str(self._trash)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=without_secrets(),
            )  # fmt: skip
        deadline = asyncio.get_running_loop().time() + _FORK_SECONDS
        while not Path(self._socket_path).exists():
            if process.poll() is not None:
                raise LaunchFailed(
                    f"the fork server ended with status {process.returncode}; see {self._data}/forkserver.log"
                )
            if asyncio.get_running_loop().time() > deadline:
                raise LaunchFailed(f"the fork server was not ready after {_FORK_SECONDS:.0f} s")
            await asyncio.sleep(0.01)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                message = json.loads(line)
                if "exited" in message:
                    self._ended(message["key"], message["exited"], _exit_of(message))
                elif waiting := self._forking.pop(message.get("forked") or message["failed"], None):
                    if waiting.done():
                        continue
                    if "forked" in message:
                        waiting.set_result(message["pid"])
                    else:
                        waiting.set_exception(LaunchFailed(message["error"]))
        writer.close()
        for waiting in self._forking.values():
            if not waiting.done():
                waiting.set_exception(LaunchFailed("the fork server is gone"))
        self._forking.clear()

    def _ended(self, key: str, worker: str, exit: Exit) -> None:
        if self._watched.pop(worker, None) is not None:
            self._on_exit(key, worker, exit)

    def launch(self, launch: Launch) -> Coroutine[Any, Any, None]:
        folder = self.folder(launch.key)
        request = {
            "op": "fork", "worker": launch.worker, "key": launch.key, "segment": launch.segment,
            "folder": str(folder), "address": launch.address, "token": launch.token,
            "memory_limit_bytes": launch.memory_limit_bytes, "environment": dict(launch.environment),
            "cpus": math.ceil(cpus_of(launch.order.resources_json)), "file": launch.file, "asked": time.monotonic(),
        }  # fmt: skip
        text = json.dumps(request).encode()
        if (idle := self.idle.take(launch.file, bool(launch.environment))) is not None:
            return self._assigned(idle, launch, text)
        self._watched[launch.worker] = (launch.key, 0, "")
        line = text + b"\n"
        return self._launched(launch, line, self._ask(launch.worker, line))

    def _assigned(self, idle: Idle, launch: Launch, text: bytes) -> Coroutine[Any, Any, None]:
        self._watched[launch.worker] = (launch.key, idle.pid, idle.start_time)
        record = self.folder(launch.key) / f"worker-{launch.worker}.json"

        def lost() -> None:
            # With its record it ran, and its end is told; without one it never did, and the next of its name may.
            if launch.worker in self._watched and not record.exists():
                self._watched[launch.worker] = (launch.key, 0, "")
                self._spawn(self._launched_instead(launch, text + b"\n"))

        idle.line.assign(text, launch.token, launch.partition, lost)
        return _is_there()

    async def _launched_instead(self, launch: Launch, request: bytes) -> None:
        try:
            await self._launched(launch, request, self._ask(launch.worker, request))
        except LaunchFailed as error:
            self._on_exit(launch.key, launch.worker, Exit(launch_error=str(error)))

    def _ask(self, worker: str, request: bytes) -> asyncio.Future[int] | None:
        """Sends a request to the fork server; None without a connection."""
        if self._writer is None or self._writer.is_closing():
            return None
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._forking[worker] = answer
        self._writer.write(request)
        return answer

    async def _launched(self, launch: Launch, request: bytes, answer: asyncio.Future[int] | None) -> None:
        try:
            for attempt in range(2):
                try:
                    if answer is None:
                        await self._connected()
                        answer = self._ask(launch.worker, request)
                    if answer is not None:
                        pid = await asyncio.wait_for(answer, _FORK_SECONDS)
                        break
                except (LaunchFailed, OSError):
                    if attempt:
                        raise
                    answer = None
            else:
                raise LaunchFailed("the fork server is gone")
        except (OSError, TimeoutError, LaunchFailed) as error:
            self._watched.pop(launch.worker, None)
            raise LaunchFailed(str(error) or "the fork server did not answer") from error
        if launch.worker in self._watched:
            self._watched[launch.worker] = (launch.key, pid, start_time(pid) or "")

    async def open(self, partition: int) -> None:
        """A partition's workers are found by their folders."""

    def release(self, partition: int) -> None:
        """Workers are watched whoever owns their partition."""

    def disruption(self, worker: str) -> Exit | None:
        return None

    async def why_taken(self, worker: str) -> Exit | None:
        return None

    async def why_lost(self, worker: str) -> Exit | None:
        return None

    async def why_crashed(self, worker: str) -> Exit | None:
        return None

    async def read_log(self, worker: str) -> AsyncIterator[bytes]:
        return  # its file is all there is
        yield b""

    def retire(self, key: str, segment: int) -> None:
        """All segments share the try's folder."""

    def observe(self, key: str, order: TaskOrder, granted: str) -> Observed:
        # A worker of this place and boot would have left its record here: its absence proves that it never ran.
        unseen = granted and not granted.startswith(f"local-{self._place}-")
        nothing = Observed(WorkerState.FOREIGN if unseen else WorkerState.NONE)
        folder = self.folder(key)
        record = _record(folder / f"worker-{granted}.json") if granted and not unseen else _latest_record(folder)
        if record is None:
            return nothing
        worker, token = record["worker"], record["token"]
        segment = int(record["segment"])
        exit_file = folder / f"exit-{worker}.json"
        alive = start_time(record["pid"]) == record["start_time"]
        if alive and not exit_file.exists():
            self._watched[worker] = (key, record["pid"], record["start_time"])
            return Observed(WorkerState.ALIVE, worker, segment, token)
        try:
            exit = _exit_of(json.loads(exit_file.read_text()))
        except (OSError, ValueError):
            exit = Exit()
        return Observed(WorkerState.GONE, worker, segment, token, exit)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for worker, (key, pid, started) in list(self._watched.items()):
                if pid and start_time(pid) != started and worker not in self._forking:
                    await asyncio.sleep(0.2)  # the fork server's word comes first, with the exit status
                    exit_file = self.folder(key) / f"exit-{worker}.json"
                    try:
                        exit = _exit_of(json.loads(exit_file.read_text()))
                    except (OSError, ValueError):
                        exit = Exit()
                    self._ended(key, worker, exit)

    def stop(self, key: str, worker: str, force: bool, grace_seconds: float = 0.0) -> None:
        record = self.folder(key) / f"worker-{worker}.json"
        _, pid, started = self._watched.get(worker, ("", 0, ""))
        if force:
            self._pool.submit(_kill_worker, record, worker, pid, started)
        elif process := _process(record, pid, started):
            signal_group(*process, signal.SIGTERM)

    def end_leftovers(self, key: str, worker: str) -> None:
        self._pool.submit(kill_marked, worker)

    def remove(self, key: str) -> None:
        self._discard(self.folder(key))

    def _discard(self, folder: Path) -> None:
        """Renamed at once, so that the key can be used again; deleted later, in a calm moment."""
        with contextlib.suppress(FileNotFoundError):
            folder.rename(self._trash / secrets.token_hex(8))
            if not self._emptying:
                self._emptying = True
                asyncio.get_running_loop().call_later(_EMPTY_SECONDS, self._empty_trash)

    def _empty_trash(self) -> None:
        self._emptying = False
        self._pool.submit(_empty, self._trash)

    def sweep(self, partition: int, live: Collection[str]) -> list[str]:
        self._empty_trash()
        keep = {folder_name(key) for key in live}
        unsaved = []
        with contextlib.suppress(FileNotFoundError):
            for folder in (self._tries / str(partition)).iterdir():
                if folder.name not in keep:
                    for record in folder.glob("worker-*.json"):
                        _kill_worker(record, record.stem.removeprefix("worker-"))
                    latest = _latest_record(folder)
                    if latest is not None and (folder / "log").exists() and not (folder / SAVED).exists():
                        unsaved.append(latest["key"])
                    else:
                        self._discard(folder)
        return unsaved

    async def close(self, stop_workers: bool) -> None:
        if stop_workers:
            for worker, (key, _, _) in list(self._watched.items()):
                self.stop(key, worker, force=True)
        if self._writer is not None:
            if stop_workers:
                self._writer.write(b'{"op": "retire"}\n')
                with contextlib.suppress(OSError):
                    await self._writer.drain()
            self._writer.close()
        for task in list(self._tasks):
            task.cancel()
        Path(self.idle.path).unlink(missing_ok=True)


async def _is_there() -> None:
    """A worker that exists already."""


def _record(path: Path) -> dict[str, Any] | None:
    """What a worker wrote of itself when it began; None when it never did."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _latest_record(folder: Path) -> dict[str, Any] | None:
    """Of the workers that a try had, the latest one's record."""
    try:
        paths = sorted(folder.glob("worker-*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        return None
    records = sorted(filter(None, map(_record, paths)), key=lambda record: int(record["segment"]))
    return records[-1] if records else None


def _empty(trash: Path) -> None:
    """Deletes what was thrown away; not the folders that idle workers have ready there."""
    for rubbish in trash.iterdir():
        pid = rubbish.name.removeprefix(READY)
        if pid == rubbish.name or start_time(int(pid)) is None:
            _delete(rubbish)


def _delete(folder: Path) -> None:
    """Deletes a try's folder, in which there are files only unless a task made something else."""
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - texts cost less than paths
            os.unlink(f"{folder}/{name}")  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _process(record_file: Path, pid: int = 0, started: str = "") -> tuple[int, str] | None:
    """A worker's process number and start time: by its record, or as they are known (it has none yet)."""
    record = _record(record_file)
    if record is not None:
        return record["pid"], record["start_time"]
    return (pid, started) if pid else None


def _kill_worker(record_file: Path, worker: str, pid: int = 0, started: str = "") -> None:
    if process := _process(record_file, pid, started):
        kill_tree(*process, worker)


def _exit_of(message: dict[str, Any]) -> Exit:
    if message["exit_code"] == EXIT_NO_FOLDER:
        return Exit(launch_error="the worker could not write its folder: is the disk full, or not writable?")
    return Exit(
        exit_code=message["exit_code"],
        signal=message["signal"],
        peak_memory_bytes=message["peak_memory_bytes"],
        cpu_seconds=message["cpu_seconds"],
        oom_kill_seen=message["oom_kill_seen"],
    )
