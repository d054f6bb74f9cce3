"""What a record must be to count: well-formed and with keys that the views can hold.

An unreadable record goes to `dead_letters`; it never stops the projection.
"""

from __future__ import annotations


class Unreadable(ValueError):  # noqa: N818 - an answer
    """The record is well-formed protobuf but makes no sense, for example it has no key; says why."""


def check_id(what: str, value: str) -> str:
    """Returns the id; raises Unreadable when it can't be a key."""
    if not 0 < len(value) <= 250 or not value.isascii():
        raise Unreadable(f"{what} {value[:60]!r} is not 1 to 250 ASCII characters")
    return value
