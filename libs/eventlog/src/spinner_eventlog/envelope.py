"""What a record looks like on the wire: one protobuf message, and CloudEvents attributes as headers.

A value above `COMPRESS_FROM_BYTES` is zstd-compressed when that makes it smaller (`content-encoding: zstd`).
Reading never fails: what can't be decompressed keeps its bytes and its `content-encoding` header, and
`Record.decode` then says that it is poison. `ce_id` is unique (random part of the process + counter).
"""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import zstandard
from google.protobuf.message import Message

from spinner_eventlog.interface import Outgoing, Record, RecordTooLarge

COMPRESS_FROM_BYTES = 256
MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024
_LEVEL = 1  # a third of level 3's time, a tenth more bytes on definitions and events

Headers = list[tuple[str, bytes]]
_ZSTD = ("content-encoding", b"zstd")
_VERSION = ("ce_specversion", b"1.0")


class _Codecs(threading.local):
    """(De)compressors must not be shared by threads."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codecs = _Codecs()


class Envelope:
    """Wraps outgoing records for one writer. Thread-safe. `clock_ms` and `id_prefix` exist for deterministic tests."""

    def __init__(self, source: str, clock_ms: Callable[[], int] | None = None, id_prefix: str | None = None) -> None:
        self._source = ("ce_source", f"spinner/{source}".encode())
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self._ids = itertools.count()
        self._id_prefix = id_prefix if id_prefix is not None else secrets.token_hex(8)
        self._second: tuple[int, str] = (-1, "")
        self._latest: tuple[int, tuple[str, bytes]] = (-1, ("", b""))
        self._types: dict[type[Message], tuple[str, bytes]] = {}

    def wrap(self, outgoing: Outgoing, limit_bytes: int) -> tuple[bytes, bytes | None, Headers]:
        """Returns key, value and headers as written; raises RecordTooLarge when together they exceed `limit_bytes`."""
        key = outgoing.key.encode()
        given = outgoing.headers
        headers: Headers = [(name, text.encode()) for name, text in given.items()] if given else []
        message = outgoing.value
        value: bytes | None = outgoing.raw
        if message is not None:
            value = message.SerializeToString()
            if len(value) > COMPRESS_FROM_BYTES:
                smaller = _codecs.compress(value)
                if len(smaller) < len(value):
                    value = smaller
                    headers.append(_ZSTD)
            kind = type(message)
            stated = self._types.get(kind)
            if stated is None:
                stated = self._types[kind] = ("ce_type", message.DESCRIPTOR.full_name.encode())
            headers.append(stated)
        headers.append(("ce_id", f"{self._id_prefix}-{next(self._ids)}".encode()))
        headers.append(self._source)
        headers.append(_VERSION)
        headers.append(self._time())
        if "traceparent" not in given:
            trace = current_traceparent()
            if trace is not None:
                headers.append(("traceparent", trace.encode()))
        size = len(key) + len(value or b"")
        if 2 * size > limit_bytes:
            size += sum(len(name) + len(text) for name, text in headers)
        if size > limit_bytes:
            raise RecordTooLarge(
                f"record {outgoing.key!r} for topic {outgoing.topic} has {size:,} bytes (compressed), the topic allows "
                f"{limit_bytes:,}: split it or put the content into the object store"
            )
        return key, value, headers

    def _time(self) -> tuple[str, bytes]:
        now_ms = self._clock_ms()
        latest = self._latest
        if latest[0] == now_ms:
            return latest[1]
        second, millisecond = divmod(now_ms, 1000)
        cached = self._second
        if cached[0] != second:
            cached = self._second = (second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
        header = ("ce_time", f"{cached[1]}.{millisecond:03d}Z".encode())
        self._latest = (now_ms, header)
        return header


def unwrap(
    topic: str,
    partition: int,
    offset: int,
    time_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]] | None,
) -> Record:
    """Builds the record from what was read; never raises."""
    texts: dict[str, str] = {}
    for name, raw in headers or ():
        texts[name] = "" if raw is None else raw.decode("utf-8", "replace")
    if value is not None and texts.get("content-encoding") == "zstd":
        try:
            if 0 <= zstandard.frame_content_size(value) <= MAX_DECOMPRESSED_BYTES:
                value = _codecs.decompress(value)
                del texts["content-encoding"]
        except zstandard.ZstdError:
            pass
    name = "" if key is None else key.decode("utf-8", "backslashreplace")
    return Record(topic, partition, offset, time_ms, name, value, texts)


def current_traceparent() -> str | None:
    """W3C trace context of the current OpenTelemetry span; None without one. Never imports OpenTelemetry itself."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def traces_by_key(records: Iterable[Record]) -> dict[str, str]:
    """The trace of each key's records; keys whose records have none, or several, are missing.

    The key "" stands for the trace that all records which have one share.
    """
    found: dict[str, str] = {}
    mixed: set[str] = set()
    for record in records:
        trace = record.headers.get("traceparent")
        if trace is not None:
            for key in (record.key, ""):
                if found.setdefault(key, trace) != trace:
                    mixed.add(key)
    for key in mixed:
        del found[key]
    return found
