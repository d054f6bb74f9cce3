"""A log of bounded size: its beginning, its latest part, and how much between them was left out.

A log that grows beyond its bounds gets one *gap*. The file's offsets stay what they were: the gap is a hole in the file
(its blocks are given back to the file system), and a record beside the file says where it is. So whoever writes never
notices, whether it is this process, a child that inherited the file, or a process of the kernel's on its behalf; and
whoever reads by offset needs no translation. The record is written before the hole is made: a reader that finds the
record unchanged after it has read has read text, not the hole.

Both ends of a gap are at line ends, unless a line is longer than ALIGN bytes: then none begins within ALIGN bytes of
its end. The kept end is between one and two times ``Bounds.tail`` bytes long, so the gap moves in large steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ALIGN = 64 * 1024
_BLOCK = 1 << 20
_RECORD = struct.Struct("<qqqq")
_CHECK = struct.Struct("<I")
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes that are kept of a log: the first ``head``, and at least the last ``tail``."""

    head: int = 64 << 20
    tail: int = 16 << 20

    @property
    def longest_end(self) -> int:
        """What may stand behind a gap before it grows."""
        return 2 * self.tail + ALIGN

    @property
    def longest(self) -> int:
        """What a log may have without a gap."""
        return self.head + self.longest_end

    def describe(self) -> str:
        """For people."""
        head, tail = _size(self.head), _size(self.tail)
        return f"its first {head} (SPINNER_LOG_HEAD) and at least its last {tail} (SPINNER_LOG_TAIL)"


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes ``start`` up to ``end`` are left out, with ``lines`` line ends; ``time_ms`` is when it last grew."""

    start: int
    end: int
    lines: int
    time_ms: int = 0

    def mark(self, bounds: Bounds) -> str:
        """The line that stands for it in the text."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.time_ms // 1000))
        return (
            f"[{moment}.{self.time_ms % 1000:03d}Z] {{TaskExecStage}} WARNING {MARK_LOGGER}: {self.end - self.start:,} "
            f"bytes ({self.lines:,} lines) are left out here: of a long log {bounds.describe()} are kept\n"
        )


MARK_LOGGER = "spinner.log.left_out"


class BoundedLog:
    """A log's file and the record of its gap, as open files. Thread-safe, and safe between processes."""

    def __init__(self, file: int, record: int, bounds: Bounds) -> None:
        self.file = file
        self.record = record
        self.bounds = bounds

    def size(self) -> int:
        """Bytes written, those in the gap too."""
        return os.fstat(self.file).st_size

    def gap(self) -> Gap | None:
        """What is left out so far."""
        return read_gap(self.record)

    def trim(self) -> None:
        """Leaves out what is beyond the bounds. Blocks while that is counted: some 0.2 s a gigabyte."""
        if self._overgrown(self.gap(), self.size()) is None:
            return
        with self._locked():
            gap, size = self.gap(), self.size()
            begin = self._overgrown(gap, size)
            if begin is None:
                return
            end = line_start(self.file, size - self.bounds.tail - ALIGN)
            self._leave_out(begin, end, self.count(gap.end if gap else begin, end) + (gap.lines if gap else 0))

    def skip(self, size: int, line_ends: int) -> None:
        """Goes on at byte ``size`` with a log that another place keeps; it has ``line_ends`` before that byte."""
        with self._locked():
            gap, have = self.gap(), self.size()
            begin = gap.start if gap else self._head_end(have)
            lines = max(0, line_ends - self.count(0, begin))
            self._leave_out(begin, size, lines, grow=size > have)

    def line_ends(self, end: int) -> int:
        """Line ends before byte ``end``, which is not inside the gap."""
        gap = self.gap()
        if gap is None or end <= gap.start:
            return self.count(0, end)
        return self.count(0, gap.start) + gap.lines + self.count(gap.end, end)

    def count(self, start: int, end: int) -> int:
        """Line ends in bytes that are there."""
        lines = 0
        while start < end and (block := os.pread(self.file, min(_BLOCK, end - start), start)):
            lines += block.count(b"\n")
            start += len(block)
        return lines

    def _overgrown(self, gap: Gap | None, size: int) -> int | None:
        """Where the gap begins when there is something to leave out."""
        if gap is not None:
            return gap.start if size - gap.end > self.bounds.longest_end else None
        return self._head_end(size) if size > self.bounds.longest else None

    def _head_end(self, size: int) -> int:
        at = min(self.bounds.head, size)
        before = max(0, at - ALIGN)
        found = os.pread(self.file, at - before, before).rfind(b"\n")
        return before + found + 1 if found >= 0 else at

    def _leave_out(self, start: int, end: int, lines: int, grow: bool = False) -> None:
        record = _RECORD.pack(start, end, lines, time.time_ns() // 1_000_000)
        os.pwrite(self.record, record + _CHECK.pack(zlib.crc32(record)), 0)
        if grow:
            os.ftruncate(self.file, end)
        if _libc is not None:
            # Where a file system cannot do it, the text is left out all the same and only its blocks stay.
            _libc.fallocate(self.file, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_long(start), ctypes.c_long(end - start))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self.record, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self.record, fcntl.LOCK_UN)


def line_start(file: int, at: int) -> int:
    """Where the first line begins at or after byte ``at``; ``at`` when none does within ALIGN bytes."""
    found = os.pread(file, ALIGN, at - 1).find(b"\n") if at else -1
    return at + found if found >= 0 else at


def read_gap(record: int) -> Gap | None:
    """The gap that an open record tells of."""
    while True:
        data = os.pread(record, _RECORD.size + _CHECK.size, 0)
        if len(data) < _RECORD.size + _CHECK.size:
            return None
        body = data[: _RECORD.size]
        if zlib.crc32(body) == _CHECK.unpack(data[_RECORD.size :])[0]:
            return Gap(*_RECORD.unpack(body))


@contextlib.contextmanager
def opened(path: Path, bounds: Bounds) -> Iterator[BoundedLog]:
    """The log at ``path``, for writing, made when it isn't there; its record is the file ``gap`` beside it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        record = os.open(record_path(path), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield BoundedLog(file, record, bounds)
        finally:
            os.close(record)
    finally:
        os.close(file)


def gap_of(path: Path) -> Gap | None:
    """What is left out of the log at ``path``."""
    try:
        record = os.open(record_path(path), os.O_RDONLY)
    except OSError:
        return None
    try:
        return read_gap(record)
    finally:
        os.close(record)


def record_path(path: Path) -> Path:
    """Where the record of a log's gap is."""
    return path.with_name("gap")


def _size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"
