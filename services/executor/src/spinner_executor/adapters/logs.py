"""The log of a try: the worker's file, followed to the topic and uploaded at the end; secrets masked on the way.

Offsets are byte offsets in the file everywhere (see domain.masking). A log longer than its bounds has a gap
(`spinner.runtime.boundedlog`): read on from inside it, the text is the line that says what is left out, and goes on
behind it. Only the final object counts without the gap. Chunks are whole lines of at most CHUNK bytes; the topic has
the first TOPIC_CAP bytes of a try and, when it is over, the last TOPIC_TAIL. Nothing holds more than a chunk in memory.
How far the topic got is kept beside the log, so a next owner goes on there.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from spinner.runtime.boundedlog import ALIGN, BoundedLog, Bounds, Gap, gap_of, line_start, opened
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1.common_pb2 import TryKey
from spinner_proto.logs.v1.logs_pb2 import TaskLogChunk

from spinner_executor.domain.masking import Masker, whole_lines
from spinner_executor.domain.overlap import parts, unsent

CHUNK = 256 * 1024
TOPIC_CAP = 1024 * 1024
TOPIC_TAIL = 256 * 1024
NODE_MARK = b"\n[what came before is left out: the node keeps only the end of a long log]\n"


class Uploads(Protocol):
    """The part of an object store that logs need."""

    def put_file(self, key: str, path: Path) -> object: ...
    def put(self, key: str, data: bytes) -> object: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Text at an offset, and the offset to go on at."""

    text: bytes
    following: int


class TryLog:
    """One try's log. `post` queues a record for the topic; without a topic (""), nothing is published."""

    def __init__(
        self, path: Path, key: str, try_key: TryKey, topic: str, masker: Masker, bounds: Bounds | None = None
    ) -> None:
        self.path = path
        self.key = key
        self.masker = masker
        self.bounds = bounds or Bounds()
        self._try_key = try_key
        self._topic = topic
        self._final = False

    @functools.cached_property
    def _published(self) -> int:
        """How far the topic got."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.path.with_name("published").read_text())
        return 0

    @functools.cached_property
    def _base(self) -> tuple[int, int]:
        """Where the text of a worker begins that pushes it, and how many lines are before."""
        with contextlib.suppress(OSError, ValueError):
            offset, lines = map(int, self.path.with_name("base").read_text().split())
            return offset, lines
        return 0, 0

    def size(self) -> int:
        """Bytes written, those that are left out too."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def length(self) -> int:
        """Bytes of the text with the line that says what is left out."""
        gap = gap_of(self.path)
        return self.size() if gap is None else self.size() - (gap.end - gap.start) + len(self._mark(gap))

    def overgrown(self) -> bool:
        """Whether the worker doesn't keep its log within the bounds."""
        size = self.size()
        if size <= 2 * self.bounds.longest:
            return False
        gap = gap_of(self.path)
        return gap is None or size - gap.end > 2 * self.bounds.longest_end

    def trim(self) -> None:
        """Leaves out what is beyond the bounds. Blocks."""
        if self.size() > self.bounds.longest:
            with opened(self.path, self.bounds) as log:
                log.trim()

    def read(self, offset: int, limit: int = CHUNK, final: bool = False) -> Piece:
        """Masked text from `offset`: whole lines, or with `final` also the unfinished last one. Empty at the end."""
        while True:
            gap = gap_of(self.path)
            piece = self._read(offset, limit, final, gap)
            if gap_of(self.path) == gap:
                return piece

    def _read(self, offset: int, limit: int, final: bool, gap: Gap | None) -> Piece:
        low, high = 0, 1 << 62
        if gap is not None:
            if gap.start <= offset < gap.end:
                return Piece(self._mark(gap), gap.end)
            low, high = (0, gap.start) if offset < gap.start else (gap.end, high)
        reach = self.masker.reach
        begin = max(low, offset - reach)
        before = offset - begin
        try:
            file = os.open(self.path, os.O_RDONLY)
            try:
                data = os.pread(file, min(high, offset + limit + reach) - begin, begin)
                if gap is not None and reach:
                    data = _without_halves(file, data, begin, gap, reach)
            finally:
                os.close(file)
        except OSError:
            return Piece(b"", offset)
        text = data[before : before + limit]
        if offset + len(text) != high and (not final or len(text) == limit):
            text = whole_lines(text, limit)
        return Piece(self.masker.mask(data, before, before + len(text)), offset + len(text))

    def _mark(self, gap: Gap) -> bytes:
        mark = gap.mark(self.bounds).encode()
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            if gap.start and os.pread(file.fileno(), 1, gap.start - 1) != b"\n":
                return b"\n" + mark
        return mark

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
        offset, lines = self.size(), 0
        if offset:
            with opened(self.path, self.bounds) as log:
                lines = log.line_ends(offset)
            self.path.with_name("base").write_text(f"{offset} {lines}")
        self._base = offset, lines

    def append(self, offset: int, text: bytes, skipped: bool = False, line_ends_before: int = 0) -> int:
        """Adds text of such a worker, from `offset` of its own log; returns the offset that is to come next.

        `skipped`: the worker has left out what is between, and has written so many line ends before `offset`.
        """
        base, lines = self._base
        have = self.size() - base
        if skipped and offset > have:
            self._make_folder()
            with opened(self.path, self.bounds) as log:
                log.skip(base + offset, lines + line_ends_before)
            have = offset
        fresh = text[have - offset :] if offset <= have else b""
        if fresh:
            self._write(fresh)
            self.trim()
        return have + len(fresh)

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, text: bytes) -> None:
        self._make_folder()
        with self.path.open("ab") as file:
            file.write(text)

    def node_log(self, worker: str) -> NodeLog:
        """Where the worker's log as its node kept it is gathered, to be joined to this one."""
        self._make_folder()
        return NodeLog(self, worker)

    def join(self, node: BoundedLog, worker: str) -> None:
        """Adds what the worker did not send; a mark tells where nothing shows how the two fit together. Blocks."""
        self._write(b"")
        kept, left_out = node.gap(), gap_of(self.path)
        with mapped(node.file) as theirs:
            found = parts(theirs, kept.end if kept else 0, worker)
        for part in found:
            at, lines = part.offset, part.line
            while at < part.end and (
                piece := os.pread(node.file, min(CHUNK, part.end - at), part.at + at - part.offset)
            ):
                self.append(at, piece, True, lines)
                at += len(piece)
                lines += piece.count(b"\n")
        if found:
            return
        base = self._base[0]
        start = max(base, left_out.end if left_out else 0)
        with self.path.open("rb") as ours, mapped(ours.fileno()) as mine, mapped(node.file) as theirs:
            begin, joined = unsent(mine, start, start == base, theirs, kept.end if kept else 0)
        if not joined:
            self._write(NODE_MARK)
        while piece := os.pread(node.file, CHUNK, begin):
            self._write(piece)
            begin += len(piece)
        self.trim()

    def publish(self, post: Callable[[Outgoing], None], final: bool = False) -> None:
        """Queues what is new; with `final` the end, once."""
        if not self._topic:
            return
        size, before = self.size(), self._published
        if self._final or (not final and (size <= before or before >= TOPIC_CAP)):
            return
        self._publish(post, TOPIC_CAP, size, final)
        if final and not self._final and size > TOPIC_CAP:
            if size - self._published > TOPIC_TAIL:
                with self.path.open("rb") as file:
                    self._published = line_start(file.fileno(), size - TOPIC_TAIL)
            self._publish(post, size + CHUNK, size, final)
        if final and not self._final:
            self._post(post, b"", True)
        elif self._published > before and not final:
            with contextlib.suppress(OSError):
                self.path.with_name("published").write_text(str(self._published))

    def _publish(self, post: Callable[[Outgoing], None], end: int, size: int, final: bool) -> None:
        while self._published < min(end, size):
            piece = self.read(self._published, min(CHUNK, end - self._published), final)
            if not piece.text:
                return
            self._post(post, piece.text, final and piece.following >= size)
            self._published = piece.following

    def _post(self, post: Callable[[Outgoing], None], text: bytes, final: bool) -> None:
        chunk = TaskLogChunk(try_key=self._try_key, offset=self._published, text=text, final=final)
        chunk.time.FromDatetime(datetime.now(UTC))
        post(Outgoing(self._topic, self.key, chunk))
        self._final = final

    def finish(self, post: Callable[[Outgoing], None], store: Uploads, object_key: str) -> int:
        """Publishes the rest and uploads all of it; returns the text's length in bytes. Blocks."""
        self.trim()
        self.publish(post, final=True)
        return self.upload(store, object_key)

    def upload(self, store: Uploads, object_key: str) -> int:
        """Stores the whole masked text; returns its length in bytes. Blocks."""
        size = self.size()
        if size <= CHUNK:
            data = b"".join(self._all(size))
            store.put(object_key, data)
            return len(data)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix="upload-") as masked:
            written = 0
            for text in self._all(size):
                masked.write(text)
                written += len(text)
            masked.flush()
            store.put_file(object_key, Path(masked.name))
            return written

    def _all(self, size: int) -> Iterator[bytes]:
        offset = 0
        while offset < size and (piece := self.read(offset, CHUNK, final=True)).text:
            yield piece.text
            offset = piece.following


class NodeLog:
    """The end of a dead worker's log, as its node kept it: as much as there is room for, on disk."""

    def __init__(self, log: TryLog, worker: str) -> None:
        self._log = log
        self._worker = worker
        folder = log.path.parent
        self._files = [tempfile.TemporaryFile(dir=folder, buffering=0) for _ in range(2)]  # noqa: SIM115 - see join
        bounds = Bounds(0, log.bounds.head + log.bounds.tail)
        self._kept = BoundedLog(self._files[0].fileno(), self._files[1].fileno(), bounds)

    def take(self, piece: bytes) -> None:
        """Takes the next piece. Blocks."""
        self._files[0].write(piece)
        self._kept.trim()

    def join(self) -> None:
        """Adds what is missing to the try's log. Call it once, at the end. Blocks."""
        try:
            self._log.join(self._kept, self._worker)
        finally:
            for file in self._files:
                file.close()


@contextlib.contextmanager
def mapped(file: int) -> Iterator[mmap.mmap | bytes]:
    """A file's bytes, without reading them."""
    if not os.fstat(file).st_size:
        yield b""
        return
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as view:
        yield view


def _without_halves(file: int, data: bytes, begin: int, gap: Gap, reach: int) -> bytes:
    """`data` (from offset `begin`) without what may be half a secret, where a gap cuts a line."""
    half = None
    if begin < gap.start:
        if os.pread(file, 1, gap.start - 1) != b"\n":
            half = gap.start - reach, gap.start
    elif begin < gap.end + reach and b"\n" not in os.pread(file, ALIGN, gap.end):
        half = gap.end, gap.end + reach
    if half is None:
        return data
    start, end = (min(max(at - begin, 0), len(data)) for at in half)
    return data[:start] + b"*" * (end - start) + data[end:]
