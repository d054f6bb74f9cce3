"""gRPC: TaskRuntimeService for workers elsewhere, ExecutorService for other services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from spinner_proto.executor.v1 import executor_pb2, executor_pb2_grpc
from spinner_proto.runtime.v1 import runtime_pb2, runtime_pb2_grpc
from spinner_servicekit.errors import Rejected

from spinner_executor.adapters.logs import CHUNK
from spinner_executor.api.runtime import Runtime
from spinner_executor.control.controller import Controller
from spinner_executor.control.tries import Try
from spinner_executor.domain.keys import try_key_text

RUNTIME_SERVICE = runtime_pb2.DESCRIPTOR.services_by_name["TaskRuntimeService"].full_name
EXECUTOR_SERVICE = executor_pb2.DESCRIPTOR.services_by_name["ExecutorService"].full_name
_FOLLOW_SECONDS = 0.1


def _bearer(context: Any) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
            return value.removeprefix("Bearer ")
    raise Rejected("UNAUTHENTICATED", "no token", fix='send metadata "authorization: Bearer <token>"')


def runtime_servicer(runtime: Runtime) -> runtime_pb2_grpc.TaskRuntimeServiceServicer:
    """A servicer whose every method goes to `runtime` with the call's token."""

    def method(name: str) -> Any:
        async def call(_self: object, request: Any, context: Any) -> Any:
            return await runtime.call(name, _bearer(context), request)

        return call

    body = {name: method(name) for name in runtime.methods}
    servicer: type[runtime_pb2_grpc.TaskRuntimeServiceServicer] = type(
        "TaskRuntimeServicer", (runtime_pb2_grpc.TaskRuntimeServiceServicer,), body
    )
    return servicer()


class ExecutorServicer(executor_pb2_grpc.ExecutorServiceServicer):
    """Live logs and status."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def TailLog(  # noqa: N802 - gRPC's name
        self, request: executor_pb2.TailLogRequest, context: Any
    ) -> AsyncIterator[executor_pb2.TailLogResponse]:
        tried = self._controller.find(try_key_text(request.try_key))
        if tried is None:
            raise Rejected(
                "NOT_FOUND", "this executor holds no such try", fix="read its final log from the object store"
            )
        tried.readers += 1
        try:
            async for answer in self._tail(tried, request.offset, request.follow):
                yield answer
        finally:
            tried.readers -= 1

    async def _tail(self, tried: Try, offset: int, follow: bool) -> AsyncIterator[executor_pb2.TailLogResponse]:
        """Reads as fast as its reader takes it: a slow one is behind, and is told what it missed, but holds nobody."""
        loop, pool = asyncio.get_running_loop(), self._controller.context.pool
        while True:
            over = tried.removed or tried.uploaded_bytes >= 0
            while True:
                # A line that is not finished may hold half a secret.
                piece = await loop.run_in_executor(pool, tried.log.read, offset, CHUNK, over)
                if not piece.text:
                    break
                yield executor_pb2.TailLogResponse(offset=offset, text=piece.text)
                offset = piece.following
            if over or not follow:
                yield executor_pb2.TailLogResponse(offset=offset, final=over)
                return
            await asyncio.sleep(_FOLLOW_SECONDS)

    async def GetStatus(  # noqa: N802 - gRPC's name
        self, request: executor_pb2.GetStatusRequest, context: Any
    ) -> executor_pb2.GetStatusResponse:
        controller = self._controller
        return executor_pb2.GetStatusResponse(
            backend=controller.backend.name,
            partitions=controller.ownership.numbers,
            live_tries=controller.live,
            deferred_tries=len(controller.triggers),
            waiting_orders=controller.slots.waiting,
        )
