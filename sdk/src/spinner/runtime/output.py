"""Output of commands, copied to the log in blocks: neither many short lines nor one endless line cost more than a pipe.

The pipe is the back-pressure: a command waits until what it printed is in the log.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable

_BLOCK = 1 << 16
# The last line is a task's return value, which may be as large as an XCom; one byte more is refused there.
MAX_LINE_BYTES = (16 << 20) + 1


class OutputCopy:
    """Copies output to stdout. ``on_line`` gets each whole line that has ``needle`` in it."""

    def __init__(self, needle: bytes = b"", on_line: Callable[[bytes], None] | None = None) -> None:
        self._needle = needle
        self._on_line = on_line
        self._open = bytearray()
        self._last = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def run(self, descriptor: int) -> None:
        """Copies until the other side is closed. Blocks."""
        while block := os.read(descriptor, _BLOCK):
            self.take(block)
        if self._open and self._on_line is not None and self._needle in self._open:
            self._on_line(bytes(self._open))

    def take(self, block: bytes) -> None:
        """Copies one block."""
        self._write(block)
        end = block.rfind(b"\n") + 1
        if not end:
            self._open += block[: max(0, MAX_LINE_BYTES - len(self._open))]
            return
        whole = bytes(self._open) + block[:end]
        before = whole.rfind(b"\n", 0, len(whole) - 1) + 1
        self._last = whole[before:][:MAX_LINE_BYTES]
        self._open = bytearray(block[end:])
        if self._on_line is not None and self._needle in whole:
            for line in whole.split(b"\n"):
                if self._needle in line:
                    self._on_line(line)

    @property
    def last_line(self) -> str:
        """The last line so far, without its end."""
        return bytes(self._open or self._last).decode("utf-8", "replace").rstrip("\r\n")

    def _write(self, block: bytes) -> None:
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is not None:
            buffer.write(block)
        else:
            sys.stdout.write(self._decoder.decode(block))
        sys.stdout.flush()
