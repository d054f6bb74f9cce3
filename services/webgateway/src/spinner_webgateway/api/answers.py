"""JSON answers from plain values. The models say what they look like; tests hold the two together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import orjson
from fastapi import Query, Response

from spinner_webgateway.adapters.views.paging import DEFAULT_LIMIT, MAX_LIMIT
from spinner_webgateway.domain.problems import invalid

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items a page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=4096)]
DEFAULT = DEFAULT_LIMIT


def answer(value: Any) -> Response:
    """Returns the JSON answer."""
    return Response(orjson.dumps(value), media_type="application/json", headers={"cache-control": "no-store"})


def states_of(text: str, known: Collection[str]) -> list[str]:
    """Returns the states of a comma-separated parameter; raises the 400 problem for one that doesn't exist."""
    stated = [part.strip() for part in text.split(",") if part.strip()]
    for state in stated:
        if state not in known:
            raise invalid("STATE_UNKNOWN", f"There is no state {state[:80]!r}.", f"Choose of {', '.join(known)}.")
    return stated
