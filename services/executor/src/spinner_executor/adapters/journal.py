"""Ends of segments beside the try's other files, written before they are reported.

A file that was written survives a kill of the executor, so the next one reports the end again. What must survive
the machine is in the grant. On a full disk nothing is kept but what was there; only secrets that can't be kept are an
error, since a next executor would not mask them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from google.protobuf.message import DecodeError
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded, TaskReport

from spinner_executor.domain.prediction import Memory

_log = logging.getLogger(__name__)
SAVED = "saved"


class Journal:
    """The journal of one try, in its folder."""

    def __init__(self, folder: Path, cipher: Fernet) -> None:
        self._folder = folder
        self._cipher = cipher

    def store_end(self, report: TaskReport) -> None:
        self._try_write(f"end-{report.segment}.bin", report.SerializeToString())

    def end(self, segment: int) -> TaskReport | None:
        data = self._read(f"end-{segment}.bin")
        if not data:
            return None
        try:
            return TaskReport.FromString(data)
        except DecodeError:
            return None

    def mark_saved(self, segment: int) -> None:
        """Notes that the log is in the object store."""
        with contextlib.suppress(OSError):  # then it is uploaded once more
            os.link(self._folder / f"end-{segment}.bin", self._folder / SAVED)

    @property
    def saved(self) -> bool:
        """Whether the log is known to be in the object store."""
        return (self._folder / SAVED).exists()

    def store_stages(self, stages: TaskEnded) -> None:
        """Keeps the stages and usage of earlier segments."""
        self._try_write("stages.bin", stages.SerializeToString())

    def stages(self) -> TaskEnded:
        data = self._read("stages.bin")
        with contextlib.suppress(DecodeError):
            return TaskEnded.FromString(data or b"")
        return TaskEnded()

    def store_memory(self, memory: Memory) -> None:
        """Keeps what a worker was launched with."""
        self._try_write("memory.json", json.dumps([memory.request, memory.limit, memory.source]).encode())

    def memory(self) -> Memory | None:
        data = self._read("memory.json")
        return Memory(*json.loads(data)) if data else None

    def store_secrets(self, words: list[str]) -> None:
        """Keeps what must be masked in the try's log, encrypted, so that a next executor masks it, too."""
        self._write("secrets.bin", self._cipher.encrypt(json.dumps(words).encode()))

    def secrets(self) -> list[str]:
        """What must be masked; raises ValueError when it was stored with another key."""
        data = self._read("secrets.bin")
        try:
            return list(json.loads(self._cipher.decrypt(data))) if data else []
        except InvalidToken as error:
            raise ValueError(f"{self._folder}/secrets.bin was written with another key") from error

    def _try_write(self, name: str, data: bytes) -> None:
        try:
            self._write(name, data)
        except OSError as error:
            _log.warning("%s could not be kept: %s", self._folder / name, error)

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # its worker may be making it, too
            descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            # One call: a kill of this process leaves all of it or nothing.
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None


def journal_cipher(data: Path) -> Fernet:
    """The key of the executors that share a data folder; made once, readable by their user alone."""
    path = data / "journal.key"
    try:
        descriptor = os.open(path.with_suffix(f".{os.getpid()}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
        with contextlib.suppress(FileExistsError):
            os.link(path.with_suffix(f".{os.getpid()}"), path)
    finally:
        path.with_suffix(f".{os.getpid()}").unlink(missing_ok=True)
    return Fernet(path.read_bytes())
