"""REST: why nothing is running (B6)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from spinner_proto.explain.v1.explain_pb2 import Subject

from spinner_webgateway.api import models_explain as shapes
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.routes_dags import GatewayDependency
from spinner_webgateway.domain.explanations import as_json
from spinner_webgateway.domain.who import Caller

router = APIRouter(prefix="/dags/{dag_id}", tags=["explain"])


@router.get("/explain", response_model=shapes.Explanation)
async def explain_dag(dag_id: str, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    """Why the DAG's next run has not been made."""
    return await _explained(gateway, caller, Subject(dag_id=dag_id))


@router.get("/runs/{run_id}/explain", response_model=shapes.Explanation)
async def explain_run(dag_id: str, run_id: str, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    """Why the run has not started or not ended."""
    return await _explained(gateway, caller, Subject(dag_id=dag_id, run_id=run_id))


@router.get("/runs/{run_id}/tasks/{task_id}/{map_index}/explain", response_model=shapes.Explanation)
async def explain_task(
    dag_id: str, run_id: str, task_id: str, map_index: int, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """Why the task has not run; map index -1 of a mapped task: all its instances together."""
    subject = Subject(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    return await _explained(gateway, caller, subject)


async def _explained(gateway: Gateway, caller: Caller, subject: Subject) -> Response:
    gateway.access.check(caller, "dag.read", f"dag/{subject.dag_id}")
    return answer(as_json(await gateway.explanations.explain(subject)))
