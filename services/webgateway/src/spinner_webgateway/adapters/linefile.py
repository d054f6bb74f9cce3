"""Windows by line into a text of any size, at the cost of the window.

An index remembers for every block of 64 KiB how many lines began before it: a gigabyte is scanned once, at the speed
of counting bytes, and costs 16,000 numbers. A text that grows is scanned only where it grew.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

BLOCK = 64 * 1024
SCAN = 4 * 1024 * 1024
_LOOK_BACK = 200
ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Window:
    """Whole lines from `first_line` (1-based); `end` is the byte offset after the last one."""

    first_line: int
    lines: list[str]
    start: int
    end: int


class LineIndex:
    """Where lines are in a text read by `read(offset, length)`. Thread-safe.

    `seen` is the line number and the byte offset of the last line that has `needle` in it.
    """

    def __init__(self, read: ReadRange, needle: bytes = b"") -> None:
        self._read = read
        self._needle = needle
        self._before_part = b""
        self.seen: tuple[int, int] | None = None
        self._before = [0]
        self._partial = 0
        self._ends_open = False
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes indexed so far."""
        return self._size

    @property
    def lines(self) -> int:
        """Lines so far, an unfinished last one included."""
        return self._before[-1] + self._partial + (1 if self._ends_open else 0)

    def extend(self, size: int) -> None:
        """Indexes up to `size` bytes."""
        with self._lock:
            while self._size < size:
                part = self._read(self._size, min(SCAN, size - self._size))
                if not part:
                    return
                self._add(part)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the text."""
        return self._read(offset, length)

    def _look(self, part: bytes) -> None:
        """Looks for the needle, also where it begins in the part before."""
        text = self._before_part + part
        behind = len(self._before_part)
        found = text.rfind(self._needle)
        if found >= 0 and found + len(self._needle) > behind:
            start = text.rfind(b"\n", 0, found) + 1
            earlier = text.count(b"\n", 0, start) - self._before_part.count(b"\n")
            number = self._before[-1] + self._partial + earlier + 1
            self.seen = number, self._size - behind + start
        self._before_part = text[-_LOOK_BACK:]

    def _add(self, part: bytes) -> None:
        if self._needle:
            self._look(part)
        at = 0
        while at < len(part):
            step = min(BLOCK - self._size % BLOCK, len(part) - at)
            self._partial += part.count(b"\n", at, at + step)
            at += step
            self._size += step
            if self._size % BLOCK == 0:
                self._before.append(self._before[-1] + self._partial)
                self._partial = 0
        self._ends_open = not part.endswith(b"\n")

    def line_at(self, offset: int) -> int:
        """Returns the number of the line that begins at or holds this byte offset."""
        offset = min(offset, self._size)
        block = min(offset // BLOCK, len(self._before) - 1)
        part = self._read(block * BLOCK, offset - block * BLOCK) if offset > block * BLOCK else b""
        return self._before[block] + part.count(b"\n") + 1

    def window(self, first_line: int, limit: int, max_bytes: int = 8 * 1024 * 1024) -> Window:
        """Returns up to `limit` lines from `first_line`, and fewer when they are longer than `max_bytes` together."""
        first_line = max(1, first_line)
        block = max(0, bisect_right(self._before, first_line - 1) - 1)
        # A block may begin inside a line: with as many lines before it as asked, the line begins in an earlier block.
        while block > 0 and self._before[block] == first_line - 1:
            block -= 1
        start = block * BLOCK
        skip = first_line - 1 - self._before[block]
        data = b""
        position = start
        while True:
            end = _nth_newline(data, skip + limit)
            if end >= 0 or position >= self._size or len(data) > max_bytes:
                break
            part = self._read(position, min(BLOCK * 4, self._size - position))
            if not part:
                break
            data += part
            position += len(part)
        begin = _nth_newline(data, skip) if skip else 0
        if begin < 0:
            return Window(first_line, [], self._size, self._size)
        body = data[begin : end if end >= 0 else len(data)]
        lines = body.decode(errors="replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        return Window(first_line, lines, start + begin, start + begin + len(body))


def _nth_newline(data: bytes, count: int) -> int:
    """Returns the offset after the count-th newline; -1 when there are fewer."""
    at = 0
    for _ in range(count):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return -1
    return at
