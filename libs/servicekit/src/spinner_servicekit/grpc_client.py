"""Calling other services: every unary call has a deadline and carries the current trace."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from spinner_servicekit import traces
from spinner_servicekit.errors import Rejected
from spinner_servicekit.grpc_server import DEFAULT_DEADLINE_SECONDS, MAX_MESSAGE_BYTES

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def channel(address: str, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS) -> grpc.Channel:
    """A channel whose unary calls without a time-out get `deadline_seconds`. Close it."""
    return grpc.intercept_channel(grpc.insecure_channel(address, options=_OPTIONS), _Defaults(deadline_seconds))


def rejected(error: grpc.RpcError) -> Rejected | None:
    """The refusal behind a failed call of one of our servers; None when it failed in another way."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is None:
        return None
    reason, fix, fields = "", "", {}
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, fix = info.reason, info.metadata.get("fix", "")
        elif detail.Unpack(bad):
            fields = {violation.field: violation.description for violation in bad.field_violations}
    if not reason:
        return None
    message = status.message.removesuffix(f": {fix}") if fix else status.message
    return Rejected(code_pb2.Code.Name(status.code), message, fix, reason, fields)


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Defaults(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    def __init__(self, deadline_seconds: float) -> None:
        self._deadline = deadline_seconds

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_with(details, details.timeout or self._deadline), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_with(details, details.timeout), request)


def _with(details: Any, timeout: float | None) -> _Details:
    metadata = list(details.metadata or ())
    trace = traces.current_traceparent()
    if trace is not None and not any(key == "traceparent" for key, _ in metadata):
        metadata.append(("traceparent", trace))
    return _Details(details.method, timeout, metadata, details.credentials, details.wait_for_ready, details.compression)
