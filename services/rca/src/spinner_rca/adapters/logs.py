"""The end of a try's log, from the object store, with the number of its first line."""

from __future__ import annotations

from dataclasses import dataclass

from spinner_objectstore import NotFound, ObjectStore

COUNT_LIMIT_BYTES = 1024 * 1024 * 1024
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogEnd:
    """`first_line` is the 1-based number of the first line of `text` in the whole log."""

    text: str
    first_line: int


def read_end(store: ObjectStore, key: str, max_bytes: int) -> LogEnd | None:
    """Returns up to `max_bytes` of whole lines from the end; None when there is no such object. Blocks.

    Lines before are counted without being kept; of a log above 1 GiB the numbers count from where reading began.
    Raises spinner_objectstore.Unavailable.
    """
    if not key:
        return None
    try:
        size = store.stat(key).size_bytes
        start = max(0, size - max_bytes)
        data = store.get_range(key, start, size)
        before = _count_lines(store, key, start) if 0 < start <= COUNT_LIMIT_BYTES else 0
    except (NotFound, ValueError):
        return None
    if start:
        cut = data.find(b"\n") + 1
        before += 1 if cut else 0
        data = data[cut:]
    return LogEnd(data.decode(errors="replace"), before + 1)


def _count_lines(store: ObjectStore, key: str, end: int) -> int:
    count = 0
    with store.open(key) as stream:
        left = end
        while left > 0:
            part = stream.read(min(CHUNK, left))
            if not part:
                break
            count += part.count(b"\n")
            left -= len(part)
    return count
