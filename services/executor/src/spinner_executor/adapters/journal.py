"""Ends of segments beside the try's other files, written before they are reported.

A file that was written survives a kill of the executor, so the next one reports the end again. What must survive
the machine is in the grant.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from google.protobuf.message import DecodeError
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded, TaskReport

from spinner_executor.domain.prediction import Memory


class Journal:
    """The journal of one try, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store_end(self, report: TaskReport) -> None:
        self._write(f"end-{report.segment}.bin", report.SerializeToString())

    def end(self, segment: int) -> TaskReport | None:
        data = self._read(f"end-{segment}.bin")
        if data is None:
            return None
        try:
            return TaskReport.FromString(data)
        except DecodeError:
            return None

    def store_stages(self, stages: TaskEnded) -> None:
        """Keeps the stages and usage of earlier segments."""
        self._write("stages.bin", stages.SerializeToString())

    def stages(self) -> TaskEnded:
        data = self._read("stages.bin")
        with contextlib.suppress(DecodeError):
            return TaskEnded.FromString(data or b"")
        return TaskEnded()

    def store_memory(self, memory: Memory) -> None:
        """Keeps what a worker was launched with."""
        self._write("memory.json", json.dumps([memory.request, memory.limit, memory.source]).encode())

    def memory(self) -> Memory | None:
        data = self._read("memory.json")
        return Memory(*json.loads(data)) if data else None

    def store_secret_names(self, names: set[str]) -> None:
        """Keeps which variables and connections the try was given, never their values."""
        self._write("secrets.json", json.dumps(sorted(names)).encode())

    def secret_names(self) -> set[str]:
        data = self._read("secrets.json")
        return set(json.loads(data)) if data else set()

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True)
            descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, data)  # one call: a kill of this process leaves all of it or nothing
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None
