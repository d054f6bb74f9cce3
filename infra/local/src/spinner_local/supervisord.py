"""`python -m spinner_local.supervisord -c <file>`: supervisord that outlives a full disk.

Its log handlers print to stderr what they could not write. Where stderr is a file on the same full disk this raises
again, and used to end supervisord, so that nobody started the broker again when there was room.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO

from supervisor import supervisord


class Tolerant:
    """A text stream that drops what can't be written; otherwise the stream that it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


if __name__ == "__main__":
    sys.stdout, sys.stderr = Tolerant(sys.stdout), Tolerant(sys.stderr)
    supervisord.main()
