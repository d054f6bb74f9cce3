"""A long log has a gap; the line that stands for it, and what it means for offsets. Pure.

Readers go on at offsets of the log as it was written. A text that is read by lines (the final object, a copy of a live
log) has the line instead of the gap, so behind it every byte has moved: a *jump*.
"""

from __future__ import annotations

import re
from bisect import bisect_right

NEEDLE = b" WARNING spinner.log.left_out: "
"""In the line that says what is left out, and nowhere else unless user code imitates it."""
_MARK = re.compile(rb"\[[^\]\n]*\] \{\w*\} WARNING spinner\.log\.left_out: ([\d,]+) bytes \(([\d,]+) lines\)[^\n]*\n?")
MOST_BYTES = 1000


class Jumps:
    """Where a text's bytes were in the log: from `text` on at `log`, until the next jump."""

    def __init__(self) -> None:
        self._text = [0]
        self._log = [0]

    def add(self, text: int, log: int) -> None:
        """Both are greater than before."""
        self._text.append(text)
        self._log.append(log)

    def to_text(self, log: int) -> int:
        """Where the byte of the log is in the text; what is left out is where the text goes on behind it."""
        at = bisect_right(self._log, log) - 1
        found = self._text[at] + log - self._log[at]
        return min(found, self._text[at + 1]) if at + 1 < len(self._text) else found

    def to_log(self, text: int) -> int:
        """The log's offset of a byte of the text."""
        at = bisect_right(self._text, text) - 1
        return self._log[at] + text - self._text[at]

    def next(self, text: int) -> int | None:
        """The first jump behind a byte of the text."""
        at = bisect_right(self._text, text)
        return self._text[at] if at < len(self._text) else None


def jumps_of(mark: bytes, at: int) -> Jumps:
    """The jump of a text whose line at byte `at` is `mark`."""
    jumps = Jumps()
    found = _MARK.match(mark)
    if found:
        left_out = int(found[1].replace(b",", b""))
        jumps.add(at + len(found[0]), max(at + left_out, at + len(found[0])))
    return jumps
