"""Actions start traces: the span of the request goes with the command's record to the scheduler and on to the task."""

from __future__ import annotations

from spinner_servicekit import traces
from starlette.types import ASGIApp, Receive, Scope, Send

_ACTIONS = ("POST", "PUT", "PATCH", "DELETE")


class Tracing:
    """ASGI middleware: a span around each action, child of the request's `traceparent` when it has one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _ACTIONS:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with traces.span(f"{scope['method']} {scope['path']}", headers):
            await self._app(scope, receive, send)
