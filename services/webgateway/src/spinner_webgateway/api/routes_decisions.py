"""REST: what tasks ask people, and their answers (B4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from spinner_webgateway.adapters.views import decisions as views
from spinner_webgateway.api import models, models_commands
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer
from spinner_webgateway.api.routes_dags import GatewayDependency, Text, command_answer

router = APIRouter(tags=["decisions"])


class Decision(BaseModel):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: Literal["waiting", "decided", "timed_out", "closed"]
    kind: str = Field(description='"approval", "choice", "branch" or "entry".')
    subject: str
    body: str = Field(description="Markdown.")
    options: list[str]
    defaults: list[str] = Field(description="Taken at the deadline; none: the task fails then.")
    multiple: bool
    params: dict[str, Any] = Field(description='A form: name → {"value", "schema", "description"}.')
    assignees: list[str] = Field(description="Who may decide; empty: everyone who may act on the DAG.")
    requested_time: datetime
    deadline: datetime | None
    chosen_options: list[str]
    params_input: dict[str, Any]
    decided_by: str = ""
    decided_time: datetime | None
    note: str = ""


class DecisionRequest(BaseModel):
    chosen_options: list[str]
    params: dict[str, Any] = {}
    note: str = ""
    request_id: str | None = None


@router.get("/decisions", response_model=models.Page[Decision])
def list_decisions(
    gateway: GatewayDependency,
    caller: CallerDependency,
    dag_id: Text = "",
    state: Text = "waiting",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """What waits for a person; with `state=` everything that was asked."""
    gateway.access.check(caller, "dag.read" if dag_id else "run.list", f"dag/{dag_id}" if dag_id else "runs")
    return answer(gateway.query(lambda c: views.listing(c, dag_id, state, limit, cursor)))


@router.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/decision", response_model=Decision)
def get_decision(
    dag_id: str, run_id: str, task_id: str, map_index: int, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """The latest request of a task instance."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: views.find(c, dag_id, run_id, task_id, map_index)))


@router.post(
    "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/decision", response_model=models_commands.CommandResult
)
async def decide(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    body: DecisionRequest,
    gateway: GatewayDependency,
    caller: CallerDependency,
) -> Response:
    """Answers; the first answer counts."""
    key = (dag_id, run_id, task_id, map_index)
    subject = f"task/{dag_id}/{run_id}/{task_id}/{map_index}"
    facts = {"chosen_options": body.chosen_options[:20], "params": sorted(body.params)[:50], "note": body.note}
    with gateway.access.act(caller, "task.decide", subject, body.request_id or "", **facts):
        row = await gateway.actions.decide(caller, key, body.chosen_options, body.params, body.note, body.request_id)
    return command_answer(row)
