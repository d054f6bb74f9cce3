"""REST: the memory that a DAG's tasks ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field
from spinner_servicekit.quantities import InvalidQuantity, parse_bytes

from spinner_webgateway.adapters.views import dags as dag_views
from spinner_webgateway.adapters.views import memory
from spinner_webgateway.api import models_tasks
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.routes_dags import GatewayDependency
from spinner_webgateway.domain import words
from spinner_webgateway.domain.layout import DefinitionGraph
from spinner_webgateway.domain.problems import ProblemError, invalid

router = APIRouter(prefix="/dags/{dag_id}", tags=["memory"])
TaskId = Annotated[str, Path(min_length=1, max_length=250)]
LEAST, MOST = 16 << 20, 1 << 44


class MemoryRequest(BaseModel):
    memory_request: int | str | None = Field(default=None, description='Bytes or "512Mi". Null: as learned.')
    memory_limit: int | str | None = Field(default=None, description='Bytes or "1Gi". Null: as learned.')


@router.get("/memory", response_model=list[models_tasks.TaskMemory])
def list_memory(dag_id: str, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    """What the next try of each task asks for, where that comes from, and what the latest tries used."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(_shapes(gateway, dag_id))


@router.put("/tasks/{task_id}/memory", response_model=models_tasks.TaskMemory)
async def set_memory(
    dag_id: str, task_id: TaskId, body: MemoryRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """Sets a task's memory from its next try on."""
    shape = await _known(gateway, dag_id, task_id)
    request = _bytes("memory_request", body.memory_request)
    limit = _bytes("memory_limit", body.memory_limit)
    if request and limit and limit < request:
        raise invalid("MEMORY_INVALID", "memory_limit is below memory_request.", "Raise the limit, or leave one out.")
    with gateway.access.act(caller, "task.memory.set", f"dag/{dag_id}", task=task_id, request=request, limit=limit):
        before = await gateway.read(lambda c: memory.chosen_of(c, dag_id, task_id)) or {}
        reset = before.get("reset_time")
        kept = datetime.fromtimestamp(reset / 1e6, UTC) if reset else None
        await gateway.settings_records.put_task_resources(caller, dag_id, task_id, request, limit, kept)
    chosen = {"memory_request_bytes": request, "memory_limit_bytes": limit, "actor": caller.name}
    return answer(memory.with_chosen(shape, {**chosen, "time": words.micros_of(datetime.now(UTC))}))


@router.delete("/tasks/{task_id}/memory", status_code=204)
async def reset_memory(dag_id: str, task_id: TaskId, gateway: GatewayDependency, caller: CallerDependency) -> None:
    """Forgets what was set and what was learned: the next try asks for what the definition says."""
    await _known(gateway, dag_id, task_id)
    with gateway.access.act(caller, "task.memory.reset", f"dag/{dag_id}", task=task_id):
        await gateway.settings_records.put_task_resources(caller, dag_id, task_id, 0, 0, datetime.now(UTC))


def _shapes(gateway: Gateway, dag_id: str) -> list[dict[str, Any]]:
    version = gateway.query(lambda c: dag_views.find_row(c, dag_id))["version"]
    graph: DefinitionGraph | None = gateway.definitions.get(dag_id, version)
    return gateway.query(lambda c: memory.of_dag(c, dag_id, graph))


async def _known(gateway: Gateway, dag_id: str, task_id: str) -> dict[str, Any]:
    shapes = await gateway.in_thread(_shapes, gateway, dag_id)
    found = next((shape for shape in shapes if shape["task_id"] == task_id), None)
    if found is None:
        raise ProblemError(
            404,
            "TASK_NOT_FOUND",
            f"DAG {dag_id!r} has no task {task_id[:250]!r}.",
            f"See its tasks: `spinner tasks resources {dag_id}`, or GET /api/v1/dags/{dag_id}/memory.",
        )
    return found


def _bytes(name: str, value: int | str | None) -> int:
    if value is None:
        return 0
    try:
        amount = parse_bytes(value)
    except InvalidQuantity as error:
        raise invalid("MEMORY_INVALID", f"{name}: {error}.", "Write it like 512Mi or 2Gi.") from error
    if not LEAST <= amount <= MOST:
        raise invalid("MEMORY_INVALID", f"{name} is {amount:,} bytes.", "Give at least 16Mi and at most 16Ti.")
    return amount
