"""JSON answers from plain values. The models say what they look like; tests hold the two together."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import Query, Response

from spinner_webgateway.adapters.views.paging import DEFAULT_LIMIT, MAX_LIMIT

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items a page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=4096)]
DEFAULT = DEFAULT_LIMIT


def answer(value: Any) -> Response:
    """Returns the JSON answer."""
    return Response(orjson.dumps(value), media_type="application/json", headers={"cache-control": "no-store"})


def states_of(text: str) -> list[str]:
    """Returns the states of a comma-separated parameter."""
    return [part.strip() for part in text.split(",") if part.strip()]
