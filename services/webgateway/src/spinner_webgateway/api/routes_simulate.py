"""REST: what would happen, without doing it (B9)."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from google.protobuf.message import DecodeError
from pydantic import BaseModel, Field
from spinner_proto.inbox.v1.inbox_pb2 import ReprocessBehavior, RunOrder
from spinner_proto.scheduler.v1.scheduler_pb2 import SimulateRequest, SimulateResponse

from spinner_webgateway.adapters.simulations import as_json, timestamp
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.routes_dags import GatewayDependency
from spinner_webgateway.domain.problems import ProblemError

router = APIRouter(tags=["simulate"])

_LOOK_SECONDS = 0.1
# Nobody reads it: for the access log, as nginx writes it.
_CLIENT_LEFT = 499


class SimulatedBackfill(BaseModel):
    from_date: datetime
    to_date: datetime
    max_active_runs: int = Field(default=1, ge=1, le=1000)
    run_order: Literal["forward", "backward"] = "forward"


class Simulation(BaseModel):
    """`days` unset: 30 for a schedule, 1 for made-up DAGs, until its end for a backfill."""

    days: float | None = Field(default=None, gt=0, le=3650)
    start: datetime | None = Field(default=None, description="When it begins; unset: now.")
    backfill: SimulatedBackfill | None = None
    duration_seconds: float | None = Field(
        default=None, ge=0, description="How long each task takes; unset: as in the latest 30 days, else 60 s."
    )
    pools: dict[str, int] = Field(default={}, description="Slots that differ from what the pools have now.")
    map_length: int = Field(default=3, ge=0, le=1024, description="Elements that tasks return which others map over.")
    max_runs: int = Field(default=1000, ge=0, le=10_000, description="How many runs the answer lists.")


class FreeSimulation(Simulation):
    definitions: list[str] = Field(default=[], description="DagDefinition messages, serialized and base64-encoded.")
    synthetic_dags: int = Field(default=0, ge=0, le=200_000, description="So many daily DAGs of two tasks.")


class SimulatedRun(BaseModel):
    dag_id: str
    run_id: str
    logical_date: datetime
    due_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    state: str
    task_count: int
    partition_key: str = ""


class SimulatedLimit(BaseModel):
    kind: Literal["max_active_runs", "max_active_tasks", "max_active_tis", "pool"]
    name: str
    limit: int
    waits: int = Field(description="How many runs or task instances it made wait.")
    wait_seconds: float
    longest_wait_seconds: float
    first_time: datetime


class SimulationResult(BaseModel):
    start: datetime
    end: datetime
    stopped: str = Field(description='Why it ended before its time; "": it did not.')
    run_count: int
    failed_run_count: int
    task_count: int
    peak_running_tasks: int
    peak_time: datetime | None = None
    runs: list[SimulatedRun]
    limits: list[SimulatedLimit]
    event_count: int
    seconds: float


@router.post("/dags/{dag_id}/simulate", response_model=SimulationResult)
async def simulate_dag(
    dag_id: str, body: Simulation, http: Request, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """What the DAG's next days, or a backfill of it, would be like."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return await _answered(http, gateway.simulations.simulate(_request(body), dag_id))


@router.post("/simulate", response_model=SimulationResult)
async def simulate(
    body: FreeSimulation, http: Request, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """What DAGs that nobody has published, or so many made-up ones, would be like."""
    gateway.access.check(caller, "dag.read", "dag/*")
    request = _request(body)
    request.synthetic_dags = body.synthetic_dags
    for number, text in enumerate(body.definitions):
        try:
            request.definitions.add().ParseFromString(b64decode(text, validate=True))
        except (ValueError, DecodeError) as error:
            raise ProblemError(
                400, "INVALID_DEFINITION", f"definitions[{number}] is no DagDefinition in base64: {error}.", "Mend it."
            ) from error
    return await _answered(http, gateway.simulations.simulate(request))


async def _answered(http: Request, work: Coroutine[Any, Any, SimulateResponse]) -> Response:
    """The simulation's answer. It is called off when the client leaves, as a form does with every change of a field."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
            if await http.is_disconnected():
                return Response(status_code=_CLIENT_LEFT)
        return answer(as_json(task.result()))
    finally:
        task.cancel()


def _request(body: Simulation) -> SimulateRequest:
    request = SimulateRequest(map_length=body.map_length, max_runs=body.max_runs, pools=body.pools)
    if body.days is not None:
        request.period.FromSeconds(int(body.days * 86_400))
    if body.start is not None:
        request.start.CopyFrom(timestamp(body.start))
    if body.duration_seconds is not None:
        request.duration.FromMilliseconds(int(body.duration_seconds * 1000))
    if body.backfill is not None:
        wish, made = body.backfill, request.backfill
        made.from_date.CopyFrom(timestamp(wish.from_date))
        made.to_date.CopyFrom(timestamp(wish.to_date))
        made.max_active_runs = wish.max_active_runs
        made.run_order = RunOrder.RUN_ORDER_BACKWARD if wish.run_order == "backward" else RunOrder.RUN_ORDER_FORWARD
        made.reprocess_behavior = ReprocessBehavior.REPROCESS_BEHAVIOR_NONE
    return request
