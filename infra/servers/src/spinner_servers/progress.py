"""One line a step on standard error: what is being done, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Prints a progress line at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announces long work, and its end with the seconds it took."""
    say(f"  … {what}")
    begin = time.monotonic()
    yield
    say(f"  ✓ {what} ({time.monotonic() - begin:.1f} s)")
