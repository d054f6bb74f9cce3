"""Readers of DAG files, as their main server sees them."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from spinner_executor.adapters.local.warm_files import ASKED_BEFORE_READING, MAX_READERS, File, WarmFiles


class Readers:
    """Readers that are only their ends of connections."""

    def __init__(self) -> None:
        self.theirs: dict[File, socket.socket] = {}
        self.ours: dict[File, socket.socket] = {}
        self.watched: set[socket.socket] = set()
        self.warm = WarmFiles(self._start, self.watched.add, self.watched.discard)

    def _start(self, file: File, connection: socket.socket, ours: socket.socket) -> int:
        self.theirs[file], self.ours[file] = connection.dup(), ours
        return 4646

    def ask(self, file: File) -> None:
        for _ in range(ASKED_BEFORE_READING):
            self.warm.was_asked({"file": list(file), "environment": {}})

    def say(self, file: File, **message: Any) -> None:
        self.theirs[file].sendall(json.dumps(message).encode() + b"\n")

    def heard(self, file: File) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.theirs[file].recv(65536).splitlines()]


@pytest.fixture
def readers() -> Readers:
    return Readers()


def test_a_reader_that_makes_room_is_heard_to_its_end(readers: Readers) -> None:
    files = [("/bundle", f"dag_{n}.py") for n in range(MAX_READERS + 1)]
    for file in files[:-1]:
        readers.ask(file)
        readers.say(file, ready=True)
        readers.warm.received(readers.ours[file])
    # One of its idle workers has been given a try at the executor, which nobody has read yet.
    readers.say(files[0], forked="w1", pid=7)
    readers.ask(files[-1])
    retired = readers.ours[files[0]]
    assert {"op": "retire"} in readers.heard(files[0])
    assert retired in readers.watched
    assert readers.warm.received(retired)[0] == [{"forked": "w1", "pid": 7, "asked": False}]
    assert readers.warm.busy
    readers.say(files[0], exited="w1")
    readers.warm.received(retired)
    assert not readers.warm.busy
    readers.theirs[files[0]].close()
    assert readers.warm.received(retired) == ([], [])
    assert retired not in readers.watched
