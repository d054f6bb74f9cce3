"""The log of a try: the worker's file, followed to the topic and uploaded at the end; secrets masked on the way.

Offsets are byte offsets in the file everywhere (see domain.masking). Chunks are whole lines of at most CHUNK bytes;
after TOPIC_CAP bytes of a try only the object has the rest. Nothing holds more than a chunk in memory. How far the
topic got is kept beside the log, so a next owner goes on there.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.logs.v1.logs_pb2 import TaskLogChunk

from spinner_executor.domain.masking import Masker, whole_lines

CHUNK = 256 * 1024
TOPIC_CAP = 1024 * 1024


class Uploads(Protocol):
    """The part of an object store that logs need."""

    def put_file(self, key: str, path: Path) -> object: ...
    def put(self, key: str, data: bytes) -> object: ...


class TryLog:
    """One try's log. `post` queues a record for the topic."""

    def __init__(self, path: Path, key: str, try_key: TryKey, topic: str, masker: Masker) -> None:
        self.path = path
        self.key = key
        self.masker = masker
        self._try_key = try_key
        self._topic = topic
        self._published_file = path.with_name("published")
        self._published = 0
        self._final = False
        self._differs = False
        self._base_file, self._base = path.with_name("base"), 0
        with contextlib.suppress(OSError, ValueError):
            self._base = int(self._base_file.read_text())
        with contextlib.suppress(OSError, ValueError):
            self._published = int(self._published_file.read_text())

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def read(self, offset: int, limit: int = CHUNK, final: bool = False) -> bytes:
        """Masked text from `offset`: whole lines, or with `final` also the unfinished last one."""
        reach = self.masker.reach
        before = min(offset, reach)
        try:
            with self.path.open("rb") as file:
                file.seek(offset - before)
                data = file.read(before + limit + reach)
        except OSError:
            return b""
        text = data[before : before + limit]
        if not final or len(text) == limit:
            text = whole_lines(text, limit)
        return self.masker.mask(data, before, before + len(text))

    def note(self, message: str) -> None:
        """Adds the executor's own word on how the try ended; nothing when no worker ever wrote here."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.path.parent.is_dir():
            with self.path.open("ab") as file:
                file.write(f"[{time}] {{TaskExecStage}} ERROR spinner.executor: {message}\n".encode())

    def say(self, text: str) -> None:
        """Adds text of the try that no worker wrote: its trigger's, or the executor's about it."""
        self._write(text.encode(errors="replace"))

    def begin_worker(self) -> None:
        """A worker begins that has no access to this file: offsets of its text count from here."""
        self._base = self.size()
        if self._base:
            self._base_file.write_text(str(self._base))

    def append(self, offset: int, text: bytes) -> int:
        """Adds text of such a worker, from `offset` of its own log; returns the offset that is to come next."""
        have = self.size() - self._base
        fresh = text[have - offset :] if offset <= have else b""
        if fresh:
            self._write(fresh)
        return have + len(fresh)

    def _write(self, text: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(text)

    def complete(self, offset: int, piece: bytes) -> None:
        """Takes a piece of the worker's log as its node kept it, in order from `offset` 0; adds what was not sent.

        Where the two differ (the node keeps only the latest part of a long log) the node's follows after a mark.
        """
        if offset == 0:
            self._differs = False
        if not self._differs:
            with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
                file.seek(self._base + offset)
                known = file.read(len(piece))
                self._differs = not piece.startswith(known)
                if not self._differs:
                    piece = piece[len(known) :]
            if self._differs:
                self._write(b"\n[from here on the log as the node kept it]\n")
        if piece:
            self._write(piece)

    def publish(self, post: Callable[[Outgoing], None], final: bool = False) -> None:
        """Queues what is new; with `final` the end, once."""
        if self._final:
            return
        size = self.size()
        if size <= self._published and not final:
            return
        while self._published < TOPIC_CAP:
            text = self.read(self._published, min(CHUNK, TOPIC_CAP - self._published), final)
            if not text:
                break
            last = final and self._published + len(text) >= min(size, TOPIC_CAP)
            self._post(post, text, last)
            self._published += len(text)
            if last:
                self._final = True
                return
        if final:
            self._post(post, b"", True)
            self._final = True
        else:
            with contextlib.suppress(OSError):
                self._published_file.write_text(str(self._published))

    def _post(self, post: Callable[[Outgoing], None], text: bytes, final: bool) -> None:
        chunk = TaskLogChunk(try_key=self._try_key, offset=self._published, text=text, final=final)
        chunk.time.FromDatetime(datetime.now(UTC))
        post(Outgoing(self._topic, self.key, chunk))

    def finish(self, post: Callable[[Outgoing], None], store: Uploads, object_key: str) -> int:
        """Publishes the rest and uploads all of it; returns the log's length in bytes. Blocks."""
        self.publish(post, final=True)
        return self.upload(store, object_key)

    def upload(self, store: Uploads, object_key: str) -> int:
        """Stores the whole masked text; returns its length in bytes. Blocks."""
        size = self.size()
        if size <= CHUNK:
            data = self.read(0, CHUNK + 1, final=True)
            store.put(object_key, data)
            return len(data)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix="upload-") as masked:
            written = 0
            for text in self._all():
                masked.write(text)
                written += len(text)
            masked.flush()
            store.put_file(object_key, Path(masked.name))
            return written

    def _all(self) -> Iterator[bytes]:
        offset = 0
        while text := self.read(offset, CHUNK, final=True):
            yield text
            offset += len(text)
