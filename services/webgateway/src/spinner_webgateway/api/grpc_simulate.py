"""gRPC: what would happen, without doing it (B9)."""

from __future__ import annotations

from typing import Any

from spinner_proto.gateway.v1 import gateway_pb2
from spinner_proto.scheduler.v1 import scheduler_pb2

from spinner_webgateway.api.grpc_common import GatewayMethods, rejected
from spinner_webgateway.domain.problems import ProblemError


class SimulationMethods(GatewayMethods):
    """For the event loop."""

    async def Simulate(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.SimulateRequest, context: Any
    ) -> gateway_pb2.SimulateResponse:
        self._check("dag.read", f"dag/{request.dag_id or '*'}")
        for named in request.simulation.dags:
            self._check("dag.read", f"dag/{named.dag_id}")
        asked = scheduler_pb2.SimulateRequest()
        asked.CopyFrom(request.simulation)
        try:
            found = await self._gateway.simulations.simulate(asked, request.dag_id)
        except ProblemError as problem:
            raise rejected(problem) from problem
        return gateway_pb2.SimulateResponse(result=found)
