"""OpenTelemetry traces, carried by `traceparent` through record headers and gRPC metadata.

Nothing of OpenTelemetry is imported before `configure` is given an endpoint: a process without one pays neither memory
nor time, and all helpers do nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_provider: TracerProvider | None = None


def configure(service: str, endpoint: str) -> None:
    """Exports spans in batches to `endpoint` (OTLP over gRPC); nothing for an empty one."""
    global _provider
    if not endpoint or _provider is not None:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(_provider)


def shutdown() -> None:
    """Sends what is waiting; for the end of a process."""
    if _provider is not None:
        _provider.shutdown()


@contextmanager
def span(name: str, parent: Mapping[str, str] | None = None, **attributes: str | int | float | bool) -> Iterator[None]:
    """Runs the block in a span, child of the `traceparent` in `parent` (record headers or gRPC metadata)."""
    if _provider is None:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(parent) if parent else None
    with trace.get_tracer("spinner").start_as_current_span(name, context=context, attributes=attributes):
        yield


def record(
    name: str,
    parent: Mapping[str, str] | None,
    start: datetime,
    end: datetime,
    failed: bool = False,
    **attributes: str | int | float | bool,
) -> None:
    """Adds a span of something that is over, as `span` does for a block; `start` and `end` are aware times."""
    if _provider is None:
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(parent) if parent else None
    past = trace.get_tracer("spinner").start_span(
        name, context=context, start_time=int(start.timestamp() * 1e9), attributes=attributes
    )
    if failed:
        past.set_status(trace.StatusCode.ERROR)
    past.end(int(end.timestamp() * 1e9))


def current_traceparent() -> str | None:
    """W3C trace context of the current span; None without one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def inject(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers (or gRPC metadata) with the current trace added, unless they carry one."""
    trace = current_traceparent()
    return dict(headers) if trace is None or "traceparent" in headers else {**headers, "traceparent": trace}
