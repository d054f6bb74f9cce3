"""Logs of tries by windows of lines: from the object store when final, from the executor while the try runs."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, field
from typing import Any

from spinner_proto.common.v1 import common_pb2

from spinner_webgateway.adapters.executors import ExecutorAway, Executors
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.linefile import BLOCK, LineIndex, Window
from spinner_webgateway.domain.leftout import MOST_BYTES, NEEDLE, Jumps, jumps_of
from spinner_webgateway.domain.logtext import LEFT_OUT_LOGGER, MAX_LINE_CHARS, last_stage, parse_lines
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row

DEFAULT_LINES = 1000
MAX_LINES = 10_000
KEPT_TEXTS = 64
"""Indexes and live copies kept in memory; the least recently used go first."""
MOST_LIVE_BYTES = 256 * 1024 * 1024
"""A live copy that has more, of what was left out meanwhile, is fetched anew."""
MOST_REST_BYTES = 5 * MAX_LINE_CHARS
ENDED = frozenset({"success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"})


def log_key(row: Row) -> str:
    """Returns the object key of a try's log, the usual one when its end didn't name it."""
    where = f"{row['dag_id']}/{row['run_id']}/{row['task_id']}/{row['map_index']}/{row['try_number']}"
    return row["log_key"] or f"logs/{where}.log"


def key_of(row: Row) -> common_pb2.TryKey:
    return common_pb2.TryKey(
        dag_id=row["dag_id"],
        run_id=row["run_id"],
        task_id=row["task_id"],
        map_index=row["map_index"],
        try_number=row["try_number"],
    )


@dataclass(slots=True)
class _Live:
    """A copy of a running try's log, as far as it was fetched: up to the log's offset `position`."""

    file: Any
    index: LineIndex
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    jumps: Jumps = field(default_factory=Jumps)
    size: int = 0
    position: int = 0

    def append(self, offset: int, text: bytes) -> None:
        """Adds text that stands at an offset of the log."""
        if offset + len(text) <= self.position:
            return
        if offset > self.position:
            self.jumps.add(self.size, offset)
        else:
            text = text[self.position - offset :]
        self.file.seek(self.size)
        self.file.write(text)
        self.position = max(offset, self.position) + len(text)
        self.size += len(text)
        self.index.extend(self.size)


@dataclass(slots=True)
class _Text:
    """A text that can be read by lines. `jumps`: where its bytes are in the log."""

    index: LineIndex
    complete: bool
    jumps: Jumps = field(default_factory=Jumps)

    @property
    def left_out_line(self) -> int | None:
        """The line that says what is missing."""
        return self.index.seen[0] if self.index.seen else None


class Logs:
    """Windows, streams and whole texts of logs. For the event loop; reads of the store run in threads."""

    def __init__(self, files: Files, executors: Executors, indexed: Callable[[Row], bytes] | None = None) -> None:
        """`indexed(row)`: the text of a try as the search index has it, for when object and executor are gone."""
        self._indexed = indexed or (lambda _row: b"")
        self._files = files
        self._executors = executors
        self._final: OrderedDict[str, LineIndex] = OrderedDict()
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._lock = threading.Lock()

    async def page(
        self, row: Row, critical: Set[int], first_line: int | None, limit: int, tail: int | None
    ) -> dict[str, Any]:
        """Returns the shape `LogPage`. `tail` asks for the last lines instead of those from `first_line`."""
        text = await self._text(row)
        total = text.index.lines
        if tail is not None:
            limit = tail
            first_line = max(1, total - tail + 1)
        return await asyncio.to_thread(self._page, text, critical, first_line or 1, limit)

    def _page(self, text: _Text, critical: Set[int], first_line: int, limit: int) -> dict[str, Any]:
        window = text.index.window(first_line, min(limit, MAX_LINES))
        lines, cut, _ = parse_lines(window.lines, window.first_line, _stage_before(text, window), critical)
        return {
            "first_line": window.first_line,
            "lines": lines,
            "total_lines": text.index.lines if text.complete else None,
            "next_offset": text.jumps.to_log(window.end),
            "complete": text.complete,
            "truncated": cut,
            "left_out_line": text.left_out_line,
        }

    async def stream(self, row: Row, offset: int, critical: Set[int]) -> AsyncIterator[dict[str, Any]]:
        """Yields `LogPage`s from a byte offset as the log grows; the last one is complete when the try has ended.

        Nothing is fetched before the reader took what came before: a slow reader is behind, and where a long log
        outruns it, it gets the line that says so.
        """
        text = await self._text(row)
        at = text.jumps.to_text(offset)
        number = await asyncio.to_thread(text.index.line_at, at)
        while at < text.index.size:
            page = await asyncio.to_thread(self._page, text, critical, number, MAX_LINES)
            if not page["lines"]:
                break
            yield page
            offset, number = page["next_offset"], page["first_line"] + len(page["lines"])
            at = text.jumps.to_text(offset)
        if text.complete:
            yield {**_empty_page(number, offset, complete=True), "left_out_line": text.left_out_line}
            return
        follower = Follower(offset, number, critical)
        try:
            async for part in self._executors.tail(row["executor"], key_of(row), offset, follow=True):
                page = await asyncio.to_thread(follower.take, part.offset, part.text, part.final)
                if part.final:
                    page = await asyncio.to_thread(self._last, row, page)
                if page["lines"] or part.final:
                    yield page
        except ExecutorAway:
            yield _empty_page(follower.number, follower.offset, complete=False)

    def _last(self, row: Row, page: dict[str, Any]) -> dict[str, Any]:
        """The last page of a stream, with the lines that the final text has."""
        key = log_key(row)
        size = self._files.size(key)
        if size is None:
            return page
        index = self._index(key)
        index.extend(size)
        return {**page, "total_lines": index.lines, "left_out_line": index.seen[0] if index.seen else None}

    async def raw(self, row: Row) -> AsyncIterator[bytes]:
        """Yields the whole text."""
        text = await self._text(row)
        offset = 0
        while offset < text.index.size:
            part = await asyncio.to_thread(text.index.read, offset, min(1024 * 1024, text.index.size - offset))
            if not part:
                return
            offset += len(part)
            yield part

    async def bytes_from(self, row: Row, offset: int, follow: bool) -> AsyncIterator[tuple[int, bytes, bool]]:
        """Yields (offset, text, final) from a byte offset, for programs."""
        text = await self._text(row)
        if not text.complete:
            try:
                async for part in self._executors.tail(row["executor"], key_of(row), offset, follow):
                    yield part.offset, part.text, part.final
                    offset = part.offset + len(part.text)
                return
            except ExecutorAway:
                text = await self._text(row)
        at, size = text.jumps.to_text(offset), text.index.size
        while at < size:
            end = min(at + 512 * 1024, size, text.jumps.next(at) or size)
            part_bytes = await asyncio.to_thread(text.index.read, at, end - at)
            if not part_bytes:
                break
            yield text.jumps.to_log(at), part_bytes, text.complete and at + len(part_bytes) >= size
            at += len(part_bytes)
        if at >= size:
            yield text.jumps.to_log(at), b"", text.complete

    async def _text(self, row: Row) -> _Text:
        """Returns the final text when there is one, else what the executor has, else nothing yet."""
        key = log_key(row)
        ended = row["state"] in ENDED or bool(row["outcome"])
        size = await asyncio.to_thread(self._files.size, key) if ended else None
        if size is not None:
            return await asyncio.to_thread(self._final_text, key, size)
        if row["executor"]:
            live = self._live_copy(key)
            try:
                async with live.lock:
                    async for part in self._executors.tail(row["executor"], key_of(row), live.position, follow=False):
                        await asyncio.to_thread(live.append, part.offset, part.text)
            except ExecutorAway as error:
                # The log of a try that ended well may come to the store just after its end, and then the executor
                # knows nothing of it any more.
                size = await asyncio.to_thread(self._files.size, key) if ended else None
                if size is not None:
                    return await asyncio.to_thread(self._final_text, key, size)
                if live.size == 0:
                    text = await asyncio.to_thread(self._indexed, row)
                    if text:
                        return await asyncio.to_thread(_in_memory, text)
                    if ended:
                        raise _missing(key, str(error)) from error
            return _Text(live.index, complete=False, jumps=live.jumps)
        if ended:
            raise _missing(key, "the try ended before a worker had it")
        return _Text(LineIndex(lambda _offset, _length: b""), complete=False)

    def _final_text(self, key: str, size: int) -> _Text:
        index = self._index(key)
        index.extend(size)
        text = _Text(index, complete=True)
        if index.seen is not None:
            at = index.seen[1]
            text.jumps = jumps_of(index.read(at, min(MOST_BYTES, size - at)), at)
        return text

    def _index(self, key: str) -> LineIndex:
        with self._lock:
            index = self._final.get(key)
            if index is None:
                index = self._final[key] = LineIndex(
                    lambda offset, length: self._files.read(key, offset, length), NEEDLE
                )
            self._final.move_to_end(key)
            while len(self._final) > KEPT_TEXTS:
                self._final.popitem(last=False)
            return index

    def _live_copy(self, key: str) -> _Live:
        live = self._live.get(key)
        if live is None or live.size > MOST_LIVE_BYTES:
            file = tempfile.SpooledTemporaryFile(max_size=1024 * 1024)  # noqa: SIM115 - closed when it is evicted

            def read(offset: int, length: int) -> bytes:
                with guard:
                    file.seek(offset)
                    return file.read(length)

            guard = threading.Lock()
            live = self._live[key] = _Live(file, LineIndex(read, NEEDLE))
        self._live.move_to_end(key)
        while len(self._live) > KEPT_TEXTS:
            _, old = self._live.popitem(last=False)
            old.file.close()
        return live


def _in_memory(text: bytes) -> _Text:
    """A text that may end before the log did."""
    index = LineIndex(lambda offset, length: text[offset : offset + length], NEEDLE)
    index.extend(len(text))
    return _Text(index, complete=False)


def _missing(key: str, reason: str) -> ProblemError:
    return ProblemError(
        404,
        "LOG_NOT_FOUND",
        f"The log {key} is not in the object store ({reason}).",
        "A try that never reached a worker has no log: its events say why it ended. Otherwise check the object store.",
    )


class Follower:
    """Turns the answers of a live log into `LogPage`s of whole lines. An endless line is kept as far as it is shown."""

    def __init__(self, offset: int, number: int, critical: Set[int]) -> None:
        self.offset = offset
        self.number = number
        self._critical = critical
        self._stage = ""
        self._rest = b""
        self._rest_size = 0
        self._left_out_line: int | None = None

    def take(self, offset: int, text: bytes, final: bool) -> dict[str, Any]:
        """The page of an answer's lines."""
        if offset > self.offset + self._rest_size:  # what is between is left out
            self._rest += b"\n" if self._rest else b""
            self.offset = offset - self._rest_size
        end = len(text) if final else text.rfind(b"\n") + 1
        whole = self._rest + text[:end] if end else b""
        if end:
            self.offset += self._rest_size + end
            self._rest, self._rest_size = b"", 0
        elif final:
            whole, self._rest = self._rest, b""
            self.offset += self._rest_size
        self._rest_size += len(text) - end
        self._rest = (self._rest + text[end:])[:MOST_REST_BYTES]
        texts = whole.decode(errors="replace").split("\n")
        if texts[-1] == "":
            texts.pop()
        lines, cut, self._stage = parse_lines(texts, self.number, self._stage, self._critical)
        if NEEDLE in whole:
            self._left_out_line = max(
                (line["line"] for line in lines if line["logger"] == LEFT_OUT_LOGGER), default=self._left_out_line
            )
        page = _empty_page(self.number, self.offset, complete=final)
        self.number += len(lines)
        total = self.number - 1 if final else None
        return {**page, "lines": lines, "truncated": cut, "total_lines": total, "left_out_line": self._left_out_line}


def _empty_page(number: int, offset: int, complete: bool) -> dict[str, Any]:
    return {
        "first_line": number,
        "lines": [],
        "total_lines": number - 1 if complete else None,
        "next_offset": offset,
        "complete": complete,
        "truncated": False,
        "left_out_line": None,
    }


def _stage_before(text: _Text, window: Window) -> str:
    start = max(0, window.start - BLOCK)
    if window.start == 0:
        return ""
    before = text.index.read(start, window.start - start)
    return last_stage(before.decode(errors="replace"))
