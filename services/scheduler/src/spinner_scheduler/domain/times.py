"""Time inside the core: whole microseconds since 1970 UTC in an int; 0 stands for "not set"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_datetime(value: datetime) -> int:
    """Returns an aware datetime as microseconds."""
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def to_datetime(value: int) -> datetime:
    """Returns microseconds as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def from_timestamp(value: Timestamp) -> int:
    """Returns a Timestamp as microseconds; an unset one is 0."""
    return value.seconds * SECOND + value.nanos // 1000


def to_timestamp(value: int) -> Timestamp:
    """Returns microseconds as a Timestamp."""
    seconds, micros = divmod(value, SECOND)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def from_duration(value: Duration) -> int:
    """Returns a Duration in microseconds."""
    return value.seconds * SECOND + value.nanos // 1000


def to_duration(value: int) -> Duration:
    """Returns microseconds as a Duration."""
    seconds, micros = divmod(value, SECOND)
    return Duration(seconds=seconds, nanos=micros * 1000)


def text(value: int) -> str:
    """Returns microseconds in ISO 8601, as run ids carry it."""
    return to_datetime(value).isoformat()
