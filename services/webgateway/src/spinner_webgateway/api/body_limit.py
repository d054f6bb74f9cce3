"""Refuses bodies that are too large before they are read."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spinner_webgateway.api.errors import problem_response

CONF_LIMIT_BYTES = 1024 * 1024
BODY_LIMIT_BYTES = CONF_LIMIT_BYTES + 256 * 1024
"""The largest thing in a body is conf, of at most 1 MiB; the rest and JSON's escapes fit into a quarter of it."""

DRAIN_SECONDS = 2.0
DRAIN_BYTES = 32 * 1024 * 1024


class BodyLimit:
    """ASGI middleware: 413 by the stated length at once, or as soon as more has come than is allowed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if stated.isdigit() and int(stated) > BODY_LIMIT_BYTES:
            await self._refuse(scope, receive, send, int(stated))
            return
        size = 0
        answered = False

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_LIMIT_BYTES:
                return {"type": "http.disconnect"}
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            if size > BODY_LIMIT_BYTES and not answered:
                return
            answered = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except ClientDisconnect:
            if size <= BODY_LIMIT_BYTES:
                raise
        if size > BODY_LIMIT_BYTES and not answered:
            await self._refuse(scope, receive, send, size)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        response = problem_response(
            413,
            "BODY_TOO_LARGE",
            f"The body of {scope['path']} has {size:,} bytes or more; "
            f"conf may have at most {CONF_LIMIT_BYTES:,} bytes (1 MiB).",
            "Put the data into the object store or a table, and pass its name in conf.",
        )
        headers = [*response.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        # Closing while the client still sends would reset the connection and take the answer away from it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await _discard(receive)
        await send({"type": "http.response.body", "body": b""})


async def _discard(receive: Receive) -> None:
    size = 0
    while size < DRAIN_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
