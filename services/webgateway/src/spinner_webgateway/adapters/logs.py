"""Logs of tries by windows of lines: from the object store when final, from the executor while the try runs."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass
from typing import Any

from spinner_proto.common.v1 import common_pb2

from spinner_webgateway.adapters.executors import ExecutorAway, Executors
from spinner_webgateway.adapters.files import Files
from spinner_webgateway.adapters.linefile import BLOCK, LineIndex, Window
from spinner_webgateway.domain.logtext import last_stage, parse_lines
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.rows import Row

DEFAULT_LINES = 1000
MAX_LINES = 10_000
KEPT_TEXTS = 64
"""Indexes and live copies kept in memory; the least recently used go first."""
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
    """A copy of a running try's log, as far as it was fetched."""

    file: Any
    index: LineIndex
    lock: asyncio.Lock
    size: int = 0

    def append(self, text: bytes) -> None:
        self.file.seek(self.size)
        self.file.write(text)
        self.size += len(text)
        self.index.extend(self.size)


@dataclass(slots=True)
class _Text:
    """A text that can be read by lines."""

    index: LineIndex
    read: Any
    complete: bool


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
            "next_offset": window.end,
            "complete": text.complete,
            "truncated": cut,
        }

    async def stream(self, row: Row, offset: int, critical: Set[int]) -> AsyncIterator[dict[str, Any]]:
        """Yields `LogPage`s from a byte offset as the log grows; the last one is complete when the try has ended."""
        text = await self._text(row)
        number = await asyncio.to_thread(text.index.line_at, offset)
        if offset < text.index.size:
            page = await asyncio.to_thread(self._page, text, critical, number, MAX_LINES)
            yield page
            while page["next_offset"] < text.index.size and page["lines"]:
                number = page["first_line"] + len(page["lines"])
                page = await asyncio.to_thread(self._page, text, critical, number, MAX_LINES)
                yield page
            offset, number = page["next_offset"], page["first_line"] + len(page["lines"])
        if text.complete:
            yield _empty_page(number, offset, complete=True)
            return
        stage = ""
        rest = b""
        try:
            async for part in self._executors.tail(row["executor"], key_of(row), offset, follow=True):
                rest += part.text
                end = len(rest) if part.final else rest.rfind(b"\n") + 1
                whole, rest = rest[:end], rest[end:]
                offset += len(whole)
                texts = whole.decode(errors="replace").split("\n")
                if texts and texts[-1] == "":
                    texts.pop()
                lines, cut, stage = parse_lines(texts, number, stage, critical)
                if lines or part.final:
                    yield {
                        **_empty_page(number, offset, complete=part.final),
                        "lines": lines,
                        "truncated": cut,
                    }
                number += len(lines)
        except ExecutorAway:
            yield _empty_page(number, offset, complete=False)

    async def raw(self, row: Row) -> AsyncIterator[bytes]:
        """Yields the whole text."""
        text = await self._text(row)
        offset = 0
        while offset < text.index.size:
            part = await asyncio.to_thread(text.read, offset, min(1024 * 1024, text.index.size - offset))
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
                return
            except ExecutorAway:
                text = await self._text(row)
        size = text.index.size
        while offset < size:
            part_bytes = await asyncio.to_thread(text.read, offset, min(512 * 1024, size - offset))
            if not part_bytes:
                break
            yield offset, part_bytes, text.complete and offset + len(part_bytes) >= size
            offset += len(part_bytes)
        if offset >= size:
            yield offset, b"", text.complete

    async def _text(self, row: Row) -> _Text:
        """Returns the final text when there is one, else what the executor has, else nothing yet."""
        key = log_key(row)
        ended = row["state"] in ENDED or bool(row["outcome"])
        size = await asyncio.to_thread(self._files.size, key) if ended else None
        if size is not None:
            index = self._index(key)
            await asyncio.to_thread(index.extend, size)
            return _Text(index, lambda offset, length: self._files.read(key, offset, length), complete=True)
        if row["executor"]:
            live = self._live_copy(key)
            try:
                async with live.lock:
                    async for part in self._executors.tail(row["executor"], key_of(row), live.size, follow=False):
                        if part.text and part.offset + len(part.text) > live.size:
                            live.append(part.text[live.size - part.offset :])
            except ExecutorAway as error:
                if live.size == 0:
                    text = await asyncio.to_thread(self._indexed, row)
                    if text:
                        return await asyncio.to_thread(_in_memory, text)
                    if ended:
                        raise _missing(key, str(error)) from error
            return _Text(live.index, live.index._read, complete=False)
        if ended:
            raise _missing(key, "the try ended before a worker had it")
        empty = LineIndex(lambda _offset, _length: b"")
        return _Text(empty, lambda _offset, _length: b"", complete=False)

    def _index(self, key: str) -> LineIndex:
        with self._lock:
            index = self._final.get(key)
            if index is None:
                index = self._final[key] = LineIndex(lambda offset, length: self._files.read(key, offset, length))
            self._final.move_to_end(key)
            while len(self._final) > KEPT_TEXTS:
                self._final.popitem(last=False)
            return index

    def _live_copy(self, key: str) -> _Live:
        live = self._live.get(key)
        if live is None:
            file = tempfile.SpooledTemporaryFile(max_size=1024 * 1024)  # noqa: SIM115 - closed when it is evicted

            def read(offset: int, length: int) -> bytes:
                with guard:
                    file.seek(offset)
                    return file.read(length)

            guard = threading.Lock()
            live = self._live[key] = _Live(file, LineIndex(read), asyncio.Lock())
        self._live.move_to_end(key)
        while len(self._live) > KEPT_TEXTS:
            _, old = self._live.popitem(last=False)
            old.file.close()
        return live


def _in_memory(text: bytes) -> _Text:
    """A text that may end before the log did."""
    index = LineIndex(lambda offset, length: text[offset : offset + length])
    index.extend(len(text))
    return _Text(index, lambda offset, length: text[offset : offset + length], complete=False)


def _missing(key: str, reason: str) -> ProblemError:
    return ProblemError(
        404,
        "LOG_NOT_FOUND",
        f"The log {key} is not in the object store ({reason}).",
        "A try that never reached a worker has no log: its events say why it ended. Otherwise check the object store.",
    )


def _empty_page(number: int, offset: int, complete: bool) -> dict[str, Any]:
    return {
        "first_line": number,
        "lines": [],
        "total_lines": number - 1 if complete else None,
        "next_offset": offset,
        "complete": complete,
        "truncated": False,
    }


def _stage_before(text: _Text, window: Window) -> str:
    start = max(0, window.start - BLOCK)
    if window.start == 0:
        return ""
    before: bytes = text.read(start, window.start - start)
    return last_stage(before.decode(errors="replace"))
