"""Live logs: asks the executor that holds a try, at the address that its events name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
from spinner_proto.common.v1 import common_pb2
from spinner_proto.executor.v1 import executor_pb2, executor_pb2_grpc

CONNECT_SECONDS = 2.0
TAIL_SECONDS = 5.0


class ExecutorAway(Exception):  # noqa: N818 - an answer
    """The executor doesn't answer, or holds the try no more; says which and why."""


class Executors:
    """Channels to executors by address. For the event loop."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def tail(
        self, address: str, key: common_pb2.TryKey, offset: int, follow: bool
    ) -> AsyncIterator[executor_pb2.TailLogResponse]:
        """Yields text from an offset, to what is there or, with follow, until the try ends. Raises ExecutorAway."""
        stub = executor_pb2_grpc.ExecutorServiceStub(self._channel(address))
        request = executor_pb2.TailLogRequest(try_key=key, offset=offset, follow=follow)
        call = stub.TailLog(request, timeout=None if follow else TAIL_SECONDS)
        try:
            async for part in call:
                yield part
        except grpc.aio.AioRpcError as error:
            raise ExecutorAway(f"executor {address}: {error.code().name} {error.details()}") from error
        finally:
            call.cancel()

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            options = [("grpc.max_receive_message_length", 16 * 1024 * 1024), ("grpc.enable_http_proxy", 0)]
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=options)
        return channel

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)
