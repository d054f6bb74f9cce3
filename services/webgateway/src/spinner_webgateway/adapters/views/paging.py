"""Pages: a cursor is opaque to clients and says where to go on."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson
import sqlalchemy as sa

from spinner_webgateway.domain.problems import invalid

MAX_LIMIT = 500
DEFAULT_LIMIT = 100


def encode_cursor(*parts: Any) -> str:
    return urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> list[Any] | None:
    """Returns the cursor's parts; None without one. Raises a 400 problem for one that this list didn't give."""
    if not cursor:
        return None
    try:
        parts = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(parts, list) and len(parts) == len(kinds) and all(map(isinstance, parts, kinds)):
            return parts
    except ValueError:
        pass
    raise invalid(
        "CURSOR_INVALID", f"cursor={cursor[:80]!r} was not given by this list.", "Leave it out to start anew."
    )


def page(items: list[Any], total: int, next_cursor: str | None) -> dict[str, Any]:
    return {"items": items, "total": total, "next_cursor": next_cursor}


def slice_page(items: list[Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """Returns a page of a list that is in memory."""
    start = offset_of(cursor)
    following = start + limit
    return page(items[start:following], len(items), encode_cursor(following) if following < len(items) else None)


def offset_of(cursor: str | None) -> int:
    parts = decode_cursor(cursor, int)
    return max(0, parts[0]) if parts else 0


def like(text: str) -> str:
    """Returns a LIKE pattern that finds the text anywhere; escape character `!`."""
    escaped = text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


def contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Returns the condition that the text is anywhere in the column, whatever its case, in every database."""
    found: sa.ColumnElement[bool] = sa.func.lower(column).like(like(text.lower()), escape="!")
    return found
