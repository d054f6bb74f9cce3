"""Times as the contracts carry them."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(time: datetime) -> Timestamp:
    result = Timestamp()
    result.FromDatetime(time)
    return result


def datetime_of(time: Timestamp) -> datetime | None:
    """None for an unset time."""
    return time.ToDatetime(tzinfo=UTC) if time.seconds or time.nanos else None
