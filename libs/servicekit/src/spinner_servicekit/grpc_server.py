"""Starting a gRPC server: health, reflection, rich errors, calls bounded in time, traces, graceful stop.

Servicers are plain classes; what they raise becomes a status:

- `Rejected` → its code, with `google.rpc.ErrorInfo` (reason, fix) and `BadRequest` (fields);
- an exception listed in `errors` → that code with its message (for `Transient`: UNAVAILABLE);
- anything else is a bug: logged, INTERNAL without details.

A call whose deadline has passed is not begun. Calls without a deadline are given `DEFAULT_DEADLINE_SECONDS` by our own
clients (`grpc_client.channel`) and by the asyncio server for unary methods; a synchronous handler's thread can't be
interrupted, so it asks `remaining(context)` before it waits for something.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from spinner_servicekit import traces
from spinner_servicekit.errors import Rejected

logger = logging.getLogger("spinner_servicekit.grpc")

DEFAULT_DEADLINE_SECONDS = 30.0
ERROR_DOMAIN = "spinner"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

Errors = Mapping[type[Exception], grpc.StatusCode]
Register = Callable[[Any], None]

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


class Server:
    """A started synchronous server. `address` is where it listens."""

    def __init__(self, server: grpc.Server, address: str, servicer: health.HealthServicer) -> None:
        self._server = server
        self._health = servicer
        self.address = address

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Answers NOT_SERVING, refuses new calls, lets running ones end within the grace time. Blocks. Idempotent."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()


class AsyncServer:
    """A started asyncio server."""

    def __init__(self, server: grpc.aio.Server, address: str, servicer: Any) -> None:
        self._server = server
        self._health = servicer
        self.address = address

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """As Server.stop."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def serve(
    address: str,
    services: Sequence[str],
    register: Register,
    errors: Errors | None = None,
    workers: int = 16,
) -> Server:
    """Starts a synchronous server at `address` (port 0 picks one).

    `services`: full names, as `DESCRIPTOR.services_by_name[…].full_name`. `register(server)` adds the servicers.
    Raises OSError when the address is taken.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(workers, thread_name_prefix="grpc"),
        interceptors=[_Guard(errors or {})],
        options=_OPTIONS,
    )
    register(server)
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    actual = _bind(server.add_insecure_port, address)
    server.start()
    for name in ("", *services):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return Server(server, actual, servicer)


async def serve_async(
    address: str,
    services: Sequence[str],
    register: Register,
    errors: Errors | None = None,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
) -> AsyncServer:
    """As `serve`, for asyncio servicers. Unary calls without a deadline end after `deadline_seconds`."""
    server = grpc.aio.server(interceptors=[_AsyncGuard(errors or {}, deadline_seconds)], options=_OPTIONS)
    register(server)
    servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    actual = _bind(server.add_insecure_port, address)
    await server.start()
    for name in ("", *services):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return AsyncServer(server, actual, servicer)


def remaining(context: grpc.ServicerContext, default_seconds: float = DEFAULT_DEADLINE_SECONDS) -> float:
    """Seconds that a handler may still take."""
    left = context.time_remaining()
    return default_seconds if left is None else max(0.0, min(left, 10 * 365 * 86_400.0))


def status_of(rejected: Rejected) -> grpc.Status:
    """The rich status of a refusal."""
    info = error_details_pb2.ErrorInfo(reason=rejected.reason, domain=ERROR_DOMAIN)
    if rejected.fix:
        info.metadata["fix"] = rejected.fix
    details: list[any_pb2.Any] = [_packed(info)]
    if rejected.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
            for field, text in rejected.fields.items()
        ]
        details.append(_packed(error_details_pb2.BadRequest(field_violations=violations)))
    status = status_pb2.Status(code=code_pb2.Code.Value(rejected.code), message=str(rejected), details=details)
    found: grpc.Status = rpc_status.to_status(status)
    return found


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _bind(add: Callable[[str], int], address: str) -> str:
    port, cause = 0, None
    try:
        port = add(address)
    except RuntimeError as error:
        cause = error
    if port == 0:
        raise OSError(f"gRPC can't listen at {address}: is it taken? Set another SPINNER_GRPC_ADDRESS") from cause
    return f"{address.rpartition(':')[0]}:{port}"


def _classified(error: Exception, errors: Errors, method: str) -> grpc.Status | tuple[grpc.StatusCode, str]:
    if isinstance(error, Rejected):
        return status_of(error)
    for kind, code in errors.items():
        if isinstance(error, kind):
            return code, str(error)
    logger.error("bug in %s: %s", method, error, exc_info=error)
    return grpc.StatusCode.INTERNAL, "internal error; the service's log says more"


def _end(context: Any, error: Exception, errors: Errors, method: str) -> Any:
    """Ends the call with the status of `error`: raises, or returns an awaitable that raises."""
    found = _classified(error, errors, method)
    if isinstance(found, grpc.Status):
        context.set_trailing_metadata(found.trailing_metadata)
        return context.abort(found.code, found.details)
    return context.abort(*found)


def _metadata(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


class _Guard(grpc.ServerInterceptor):  # type: ignore[type-arg]
    def __init__(self, errors: Errors) -> None:
        self._errors = errors

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method

        def unary(behaviour: Any) -> Any:
            def call(request: Any, context: Any) -> Any:
                if remaining(context) <= 0:
                    context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"{method} came after its deadline")
                with traces.span(method, _metadata(context)):
                    try:
                        return behaviour(request, context)
                    except Exception as error:
                        if context.code() is not None or type(error) is Exception:  # the handler aborted itself
                            raise
                        return _end(context, error, self._errors, method)

            return call

        def streaming(behaviour: Any) -> Any:
            def call(request: Any, context: Any) -> Iterator[Any]:
                try:
                    yield from behaviour(request, context)
                except Exception as error:
                    if context.code() is not None or type(error) is Exception:
                        raise
                    _end(context, error, self._errors, method)

            return call

        return _wrapped(handler, unary, streaming)


class _AsyncGuard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    def __init__(self, errors: Errors, deadline_seconds: float) -> None:
        self._errors = errors
        self._deadline = deadline_seconds

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        method = details.method

        def unary(behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Any:
            async def call(request: Any, context: Any) -> Any:
                with traces.span(method, _metadata(context)):
                    try:
                        if context.time_remaining() is not None:
                            return await behaviour(request, context)
                        async with asyncio.timeout(self._deadline):
                            return await behaviour(request, context)
                    except grpc.aio.AbortError:
                        raise
                    except TimeoutError:
                        return await context.abort(
                            grpc.StatusCode.DEADLINE_EXCEEDED,
                            f"{method} took longer than {self._deadline:g} s; set a deadline if it may take longer",
                        )
                    except Exception as error:  # noqa: BLE001 - every failure becomes a status
                        return await _end(context, error, self._errors, method)

            return call

        def streaming(behaviour: Callable[[Any, Any], AsyncIterator[Any]]) -> Any:
            async def call(request: Any, context: Any) -> AsyncIterator[Any]:
                try:
                    async for answer in behaviour(request, context):
                        yield answer
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001 - every failure becomes a status
                    await _end(context, error, self._errors, method)

            return call

        return _wrapped(handler, unary, streaming)


def _wrapped(handler: Any, unary: Callable[[Any], Any], streaming: Callable[[Any], Any]) -> Any:
    """The same handler with its behaviour wrapped, whatever its arity."""
    serializers = (handler.request_deserializer, handler.response_serializer)
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(streaming(handler.stream_stream), *serializers)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(unary(handler.stream_unary), *serializers)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(streaming(handler.unary_stream), *serializers)
    return grpc.unary_unary_rpc_method_handler(unary(handler.unary_unary), *serializers)
