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
ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Window:
    """Whole lines from `first_line` (1-based); `end` is the byte offset after the last one."""

    first_line: int
    lines: list[str]
    start: int
    end: int


class LineIndex:
    """Where lines are in a text read by `read(offset, length)`. Thread-safe."""

    def __init__(self, read: ReadRange) -> None:
        self._read = read
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

    def _add(self, part: bytes) -> None:
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
