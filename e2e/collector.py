"""An OpenTelemetry collector in memory: the OTLP service that services export their spans to."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps (service, span name) by trace id."""

    def __init__(self) -> None:
        self.traces: dict[bytes, set[tuple[str, str]]] = defaultdict(set)
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.address = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            service = next(
                (pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name"), ""
            )
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.traces[span.trace_id].add((service, span.name))
        return trace_service_pb2.ExportTraceServiceResponse()

    def close(self) -> None:
        self._server.stop(0)
