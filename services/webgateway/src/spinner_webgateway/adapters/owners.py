"""Questions to the scheduler that owns a partition, wherever it is now.

The owner of a partition says in its first transaction where it answers (topic `partition_owners`, a view here). When
it doesn't answer any more, or owns the partition no longer, the view is looked at again until the next owner shows up,
at most for `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import sqlalchemy as sa
from spinner_proto.scheduler.v1 import scheduler_pb2_grpc
from spinner_servicekit import grpc_client

from spinner_webgateway.adapters.commands import refusal_problem
from spinner_webgateway.adapters.tables.system import partition_owners
from spinner_webgateway.domain.problems import ProblemError

PATIENCE_SECONDS = 3.0
LOOK_SECONDS = 0.1
CALL_SECONDS = 6.0
_NOT_OWNER = "NOT_OWNER"

R = TypeVar("R")


class Owners:
    """For the event loop."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def ask(self, partition: str, call: Callable[[Any], Awaitable[R]]) -> R:
        """Returns what the owner answers to `call`, which bounds itself (`CALL_SECONDS`).

        Raises the problem: the owner's refusal, or 503 when there is no owner.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        said = "no scheduler has said that it owns it"
        while True:
            address = await asyncio.to_thread(self._owner, partition)
            if address:
                try:
                    stub = scheduler_pb2_grpc.SchedulerServiceStub(self._channel(address))
                    return await call(stub)
                except grpc.aio.AioRpcError as error:
                    refusal = grpc_client.rejected(error)
                    if refusal is not None and refusal.code == "NOT_FOUND" and refusal.fix:
                        raise ProblemError(404, refusal.reason, f"{refusal.message}.", refusal.fix) from error
                    if refusal is not None and refusal.code != "UNAVAILABLE" and refusal.reason != _NOT_OWNER:
                        raise refusal_problem(refusal.reason, refusal.message) from error
                    said = f"its last known owner {address} says: {error.details()}"
            if time.monotonic() > deadline:
                raise ProblemError(
                    503,
                    "PARTITION_WITHOUT_OWNER",
                    f"Scheduler partition {partition} has no owner right now: {said}.",
                    "Start a scheduler, or ask again when another one has taken over (spinner status).",
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            options = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100)]
            channel = self._channels[address] = grpc.aio.insecure_channel(address, options=options)
        return channel

    def _owner(self, partition: str) -> str:
        with self._engine.connect() as connection:
            query = sa.select(partition_owners.c.address).where(partition_owners.c.name == partition)
            return str(connection.execute(query).scalar() or "")
