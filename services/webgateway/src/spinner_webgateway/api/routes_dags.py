"""REST: DAGs, their layout, source, grid and runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from spinner_webgateway.adapters.views import dags as dag_views
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.api import models, models_commands
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer, states_of
from spinner_webgateway.api.context import Gateway, gateway_of
from spinner_webgateway.domain import words
from spinner_webgateway.domain.layout import DefinitionGraph
from spinner_webgateway.domain.problems import version_not_found

router = APIRouter(tags=["dags"])
GatewayDependency = Annotated[Gateway, Depends(gateway_of)]
Text = Annotated[str, Query(max_length=500)]
DueFrom = Annotated[datetime | None, Query(description="Only runs that were due at this time or later.")]
DueTo = Annotated[datetime | None, Query(description="Only runs that were due before this time.")]


class PausedRequest(BaseModel):
    paused: bool
    request_id: str | None = None


@router.get("/dags", response_model=models.Page[models.DagSummary])
def list_dags(
    gateway: GatewayDependency,
    caller: CallerDependency,
    query: Text = "",
    owner: Text = "",
    tier: int | None = None,
    tag: Text = "",
    paused: bool | None = None,
    state: Text = "",
    sort: Text = "dag_id",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """DAGs with their latest runs. `state` is that of the latest run; `sort` may begin with "-"."""
    gateway.access.check(caller, "dag.list", "dags")
    wanted = dag_views.DagFilter(query, owner, tier, tag, paused, state)
    return answer(gateway.query(lambda c: dag_views.listing(c, wanted, sort, limit, cursor)))


@router.get("/dags/{dag_id}", response_model=models.DagDetails)
def get_dag(dag_id: str, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: dag_views.details(c, dag_id, gateway.definitions)))


@router.patch("/dags/{dag_id}", response_model=models_commands.CommandResult)
async def pause_dag(dag_id: str, body: PausedRequest, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    action = "dag.pause" if body.paused else "dag.unpause"
    with gateway.access.act(caller, action, f"dag/{dag_id}", body.request_id or "") as under_way:
        row = await gateway.actions.set_paused(caller, dag_id, body.paused, body.request_id)
        under_way.request_id = row["request_id"]
    return command_answer(row)


@router.get("/dags/{dag_id}/layout", response_model=models.Layout)
def get_layout(dag_id: str, gateway: GatewayDependency, caller: CallerDependency, version: Text = "") -> Response:
    """The graph of a version, of the current one by default."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(_graph(gateway, dag_id, version).layout())


@router.get("/dags/{dag_id}/source", response_model=models.SourceCode)
def get_source(dag_id: str, gateway: GatewayDependency, caller: CallerDependency, version: Text = "") -> Response:
    """The text of the DAG's file at a version, of the current one by default."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    definition = _graph(gateway, dag_id, version).definition
    return answer(
        {
            "dag_id": dag_id,
            "version": definition.version,
            "relative_path": definition.relative_path,
            "text": gateway.files.blob(definition.source).decode(errors="replace"),
        }
    )


def _graph(gateway: Gateway, dag_id: str, version: str) -> DefinitionGraph:
    if not version:
        version = gateway.query(lambda c: dag_views.find_row(c, dag_id))["version"]
    graph = gateway.definitions.get(dag_id, version)
    if graph is None:
        gateway.query(lambda c: dag_views.find_row(c, dag_id))
        raise version_not_found(dag_id, version)
    return graph


@router.get("/dags/{dag_id}/grid", response_model=models.Grid)
def get_grid(
    dag_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    runs: Annotated[int, Query(ge=1, le=100)] = 25,
    before: Annotated[str | None, Query(max_length=250, description="Only runs older than this run id.")] = None,
) -> Response:
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: dag_views.grid(c, dag_id, gateway.definitions, runs, before)))


@router.get("/dags/{dag_id}/runs", response_model=models.Page[models.RunSummary])
def list_dag_runs(
    dag_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    state: Text = "",
    due_from: DueFrom = None,
    due_to: DueTo = None,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    states, due = states_of(state, words.RUN_STATES), _period(due_from, due_to)

    def read(connection: Any) -> Any:
        dag_views.find_row(connection, dag_id)
        return run_views.listing(connection, dag_id, states, limit, cursor, due)

    return answer(gateway.query(read))


@router.get("/runs", response_model=models.Page[models.RunSummary])
def list_runs(
    gateway: GatewayDependency,
    caller: CallerDependency,
    state: Text = "",
    dag_id: Text = "",
    due_from: DueFrom = None,
    due_to: DueTo = None,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Runs of all DAGs, newest first; `state` may be a list with commas."""
    gateway.access.check(caller, "run.list", "runs")
    states, due = states_of(state, words.RUN_STATES), _period(due_from, due_to)
    return answer(gateway.query(lambda c: run_views.listing(c, dag_id or None, states, limit, cursor, due)))


def _period(due_from: datetime | None, due_to: datetime | None) -> run_views.Period:
    return (
        words.micros_of(due_from) if due_from is not None else None,
        words.micros_of(due_to) if due_to is not None else None,
    )


@router.post("/dags/{dag_id}/runs", response_model=models_commands.CommandResult)
async def trigger_run(
    dag_id: str, body: models_commands.TriggerRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    facts = {"run_id": body.run_id, "logical_date": body.logical_date, "note": body.note, "conf": brief(body.conf)}
    if body.partition_key:
        facts["partition_key"] = body.partition_key
    with gateway.access.act(caller, "run.trigger", f"dag/{dag_id}", body.request_id or "", **facts) as under_way:
        row = await gateway.actions.trigger(
            caller,
            dag_id,
            body.run_id,
            body.logical_date,
            body.conf,
            body.note,
            body.request_id,
            body.partition_key,
        )
        under_way.request_id = row["request_id"]
        under_way.details["run_id"] = row["run_id"]
    return command_answer(row)


def brief(conf: dict[str, Any]) -> Any:
    """The audit trail keeps the keys of conf: its values may be large or private."""
    return sorted(conf)[:50]


def command_answer(row: dict[str, Any]) -> Response:
    return answer({"request_id": row["request_id"], "run_id": row["run_id"], "task_count": row["task_count"]})
