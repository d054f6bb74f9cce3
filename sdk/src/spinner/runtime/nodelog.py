"""The copy of a worker's log that its node keeps: what the container writes to its stdout.

A container's runtime puts a time before each line, so short lines cost it many times their bytes; and a kubelet looks
only every ten seconds whether the copy is too long. So it gets what it takes and no more than a rate, and nobody waits
for it: where the log outruns it by LAG bytes, it goes on near the log's end behind a mark. A mark says at which byte
and line of the log the copy stops and at which it goes on, so whoever has both joins them byte by byte, even if the
kubelet has dropped what was before.

When the worker has reported its end, the executor has all of it. Otherwise (it was killed) the copy ends with the log's
last part, ENDING bytes as the node counts them, whatever was left out before.
"""

from __future__ import annotations

import os
import re
import threading
import time

from spinner.runtime.boundedlog import BoundedLog, line_start

LAG = 8 << 20
ENDING = 8 << 20
# What the runtime adds to a line: "2026-11-27T08:00:00.123456789Z stdout F ", and some for its work.
LINE_COST = 48
_FRESH = 256 * 1024
_BLOCK = 64 * 1024
_DRAIN_SECONDS = 2.0
_MARK = (
    "\n[{time}.{ms:03d}Z] {{TaskExecStage}} WARNING spinner.log.node: the node's copy of this log stops at byte {a} "
    "(line {x}) and goes on at byte {b} (line {y}); Spinner has more of {worker}\n"
)
MARK = re.compile(
    rb"\n\[[-0-9T:.]{23}Z\] \{TaskExecStage\} WARNING spinner\.log\.node: the node's copy of this log stops at byte "
    rb"(\d+) \(line (\d+)\) and goes on at byte (\d+) \(line (\d+)\); Spinner has more of ([^\n]*)\n"
)


class Pace:
    """``free`` bytes at once, then ``per_second``."""

    def __init__(self, free: int, per_second: int) -> None:
        self._left = float(free)
        self._per_second = per_second
        self._at = time.monotonic()

    def due(self, count: int) -> float:
        """Takes ``count`` bytes; seconds until they are due."""
        now = time.monotonic()
        if self._left < self._per_second:
            self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left -= count
        return max(0.0, -self._left / self._per_second)


class NodeCopy:
    """Copies ``log`` to ``output`` in a thread of its own, as the module says.

    ``worker`` names it in marks. The first ``free`` bytes have no rate. ``grown`` is called by whoever writes the log.
    """

    def __init__(self, log: BoundedLog, worker: str, free: int, per_second: int, output: int = 1) -> None:
        self._log = log
        self._worker = worker
        self._pace = Pace(free, per_second)
        self._output = output
        self._written = 0, 0
        self._offset = self._lines = self._since = 0
        self._wake, self._closing = threading.Event(), threading.Event()
        self._all = False
        self._thread = threading.Thread(target=self._copy, name="node log", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def grown(self, size: int, lines: int) -> None:
        """The log has ``size`` bytes and ``lines`` line ends now."""
        self._written = size, lines
        self._wake.set()

    def finish(self, reported: bool, seconds: float = 30.0) -> None:
        """Copies the rest, or with ``reported`` what takes no long time. Waits for ``seconds`` at most."""
        self._all = not reported
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds if self._all else _DRAIN_SECONDS)

    def _copy(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._follow(final=False)
        if self._all:
            self._rewind()
        self._follow(final=True)

    def _follow(self, final: bool) -> None:
        """Copies until it has all that is written."""
        while (written := self._written)[0] > self._offset and final == self._closing.is_set():
            gap = self._log.gap()
            behind = gap is not None and gap.start <= self._offset < gap.end
            if behind or (written[0] - self._offset > LAG and not final):
                self._go_on_at(written[0] - _FRESH)
                continue
            data = os.pread(self._log.file, min(_BLOCK, written[0] - self._offset), self._offset)
            if self._log.gap() != gap:
                continue  # it may be the hole
            lines = data.count(b"\n")
            self._closing.wait(self._pace.due(len(data) + LINE_COST * lines))
            write_all(self._output, data)
            self._offset += len(data)
            self._lines += lines

    def _rewind(self) -> None:
        """Begins the log's last part anew, unless the copy has it."""
        begin, left, gap = self._written[0], ENDING, self._log.gap()
        first = gap.end if gap else 0
        while begin > first and left > 0:
            step = max(first, begin - _BLOCK)
            left -= begin - step + LINE_COST * self._log.count(step, begin)
            begin = step
        if begin < self._since or begin > self._offset:
            self._go_on_at(begin)

    def _go_on_at(self, offset: int) -> None:
        """Goes on at the first line that begins at ``offset`` or later, behind a mark."""
        while True:
            gap, (size, lines) = self._log.gap(), self._written
            begin = gap.end if gap is not None and offset <= gap.end else line_start(self._log.file, max(0, offset))
            lines -= self._log.count(begin, size)
            if self._log.gap() == gap:
                break
        now = time.time()
        mark = _MARK.format(
            time=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)), ms=int(now % 1 * 1000), worker=self._worker,
            a=self._offset, x=self._lines, b=begin, y=lines,
        )  # fmt: skip
        write_all(self._output, mark.encode())
        self._offset = self._since = begin
        self._lines = lines


def write_all(descriptor: int, data: bytes) -> None:
    """Writes everything. Blocks."""
    while data:
        data = data[os.write(descriptor, data) :]
