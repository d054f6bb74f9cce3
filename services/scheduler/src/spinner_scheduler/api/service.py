"""gRPC: what a scheduler says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from spinner_proto.scheduler.v1.scheduler_pb2 import GetStatusRequest, GetStatusResponse, PartitionStatus
from spinner_proto.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceServicer


class SchedulerService(SchedulerServiceServicer):
    """`partitions`: gives the state of all owned partitions."""

    def __init__(self, partitions: Callable[[], Sequence[PartitionStatus]]) -> None:
        self._partitions = partitions

    def GetStatus(self, request: GetStatusRequest, context: grpc.ServicerContext) -> GetStatusResponse:  # noqa: N802
        return GetStatusResponse(partitions=self._partitions())
