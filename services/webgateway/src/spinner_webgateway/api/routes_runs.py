"""REST: one run, its tasks, tries, events and XComs, and what can be done with them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from spinner_webgateway.adapters.actions import Selection
from spinner_webgateway.adapters.views import callbacks as callback_views
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.adapters.views import tasks as task_views
from spinner_webgateway.api import models, models_commands, models_tasks
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer, states_of
from spinner_webgateway.api.context import Gateway, gateway_of
from spinner_webgateway.api.routes_dags import GatewayDependency, Text, brief, command_answer
from spinner_webgateway.domain import words
from spinner_webgateway.domain.problems import run_not_found

router = APIRouter(prefix="/dags/{dag_id}/runs/{run_id}", tags=["runs"])


def run_of(dag_id: str, run_id: str, caller: CallerDependency, gateway: Annotated[Gateway, Depends(gateway_of)]) -> str:
    """Checks that the caller may see the run; returns its subject."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    if len(run_id) > 250:
        raise run_not_found(dag_id, run_id)
    return f"run/{dag_id}/{run_id}"


Subject = Annotated[str, Depends(run_of)]


@router.get("", response_model=models.Run)
def get_run(dag_id: str, run_id: str, gateway: GatewayDependency, subject: Subject) -> Response:
    row = gateway.query(lambda c: run_views.find(c, dag_id, run_id))
    return answer(run_views.details(row, gateway.files.content(row["conf"], row["conf_key"])))


@router.post("/clear", response_model=models_commands.ClearResult)
async def clear_tasks(
    dag_id: str,
    run_id: str,
    body: models_commands.ClearRequest,
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Subject,
) -> Response:
    """Makes tasks run again; `dry_run` only says which."""
    wanted = Selection(
        task_ids=body.task_ids,
        map_indexes=body.map_indexes,
        upstream=body.upstream,
        downstream=body.downstream,
        past=body.past,
        future=body.future,
        only_failed=body.only_failed,
        latest_version=body.latest_version,
        conf=body.conf,
    )
    if body.dry_run:
        plan = await gateway.actions.clear(caller, dag_id, run_id, wanted, dry_run=True)
    else:
        facts = body.model_dump(exclude_defaults=True)
        request_id = facts.pop("request_id", "") or ""
        if body.conf is not None:
            facts["conf"] = brief(body.conf)
        with gateway.access.act(caller, "task.clear", subject, request_id, **facts) as under_way:
            plan = await gateway.actions.clear(
                caller, dag_id, run_id, wanted, dry_run=False, request_id=body.request_id
            )
            under_way.details["task_count"] = plan.task_count
    return answer(words.clear_plan(plan))


@router.post("/mark", response_model=models_commands.CommandResult)
async def mark_run(
    dag_id: str,
    run_id: str,
    body: models_commands.MarkRunRequest,
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Subject,
) -> Response:
    with gateway.access.act(caller, "run.mark", subject, body.request_id or "", state=body.state):
        row = await gateway.actions.mark_run(caller, dag_id, run_id, body.state, body.request_id)
    return command_answer(row)


@router.post("/mark-tasks", response_model=models_commands.CommandResult)
async def mark_tasks(
    dag_id: str,
    run_id: str,
    body: models_commands.MarkTasksRequest,
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Subject,
) -> Response:
    wanted = Selection(body.task_ids, body.map_indexes, body.upstream, body.downstream, body.past, body.future)
    facts = {"state": body.state, "task_ids": body.task_ids[:100]}
    with gateway.access.act(caller, "task.mark", subject, body.request_id or "", **facts):
        row = await gateway.actions.mark_tasks(caller, dag_id, run_id, wanted, body.state, body.request_id)
    return command_answer(row)


@router.post("/kill-tasks", response_model=models_commands.CommandResult)
async def kill_tasks(
    dag_id: str,
    run_id: str,
    body: models_commands.KillTasksRequest,
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Subject,
) -> Response:
    """Ends tries in progress as failed, without a retry; the run goes on with what that means for it."""
    wanted = Selection(body.task_ids, body.map_indexes)
    facts = {"task_ids": body.task_ids[:100]}
    with gateway.access.act(caller, "task.kill", subject, body.request_id or "", **facts):
        row = await gateway.actions.kill_tasks(caller, dag_id, run_id, wanted, body.request_id)
    return command_answer(row)


@router.post("/stop", response_model=models_commands.CommandResult)
async def stop_run(
    dag_id: str,
    run_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    subject: Subject,
    body: models_commands.StopRunRequest | None = None,
) -> Response:
    request_id = body.request_id if body is not None else None
    with gateway.access.act(caller, "run.stop", subject, request_id or ""):
        row = await gateway.actions.stop_run(caller, dag_id, run_id, request_id)
    return command_answer(row)


@router.get("/tasks", response_model=models.Page[models_tasks.TaskInstance])
def list_tasks(
    dag_id: str,
    run_id: str,
    gateway: GatewayDependency,
    subject: Subject,
    state: Text = "",
    task_id: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Task instances in the order of the layout; `state` may be a list with commas."""

    def read(connection: Any) -> Any:
        run = run_views.find(connection, dag_id, run_id)
        graph = gateway.definitions.get(dag_id, run["version"])
        return task_views.listing(
            connection, run, graph, states_of(state, words.TASK_STATES), task_id or None, limit, cursor
        )

    return answer(gateway.query(read))


@router.get("/callbacks", response_model=list[models_tasks.CallbackRun])
def list_callbacks(dag_id: str, run_id: str, gateway: GatewayDependency, subject: Subject) -> Response:
    """Callbacks and e-mails of the run's and its tasks' ends, in order of time."""

    def read(connection: Any) -> Any:
        return callback_views.of_run(connection, run_views.find(connection, dag_id, run_id))

    return answer(gateway.query(read))


@router.get("/events", response_model=models.Page[models.EventEntry])
def list_events(
    dag_id: str,
    run_id: str,
    gateway: GatewayDependency,
    subject: Subject,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    return answer(gateway.query(lambda c: run_views.events(c, dag_id, run_id, limit, cursor)))


@router.get("/tasks/{task_id}/{map_index}", response_model=models_tasks.TaskInstanceDetails)
def get_task(
    dag_id: str, run_id: str, task_id: str, map_index: int, gateway: GatewayDependency, subject: Subject
) -> Response:
    def read(connection: Any) -> Any:
        run = run_views.find(connection, dag_id, run_id)
        graph = gateway.definitions.get(dag_id, run["version"])
        task = task_views.find(connection, run, graph, task_id, map_index)
        above = task_views.upstream_states(connection, run, graph, task_id) if graph else {}
        tries = task_views.try_rows(connection, task)
        return graph, task, above, tries, task_views.diagnoses_of(connection, task)

    graph, task, above, tries, diagnoses = gateway.query(read)
    shapes = [task_views.attempt(row, diagnoses.get(row["try_number"]), _rendered(gateway, row)) for row in tries]
    return answer({**task_views.instance(task, graph), "tries": shapes, "upstream_states": above})


def _rendered(gateway: Gateway, row: dict[str, Any]) -> bytes:
    return gateway.files.content(row["rendered"], row["rendered_key"])


@router.get("/tasks/{task_id}/{map_index}/xcom", response_model=list[models_tasks.XComEntry])
def list_xcom(
    dag_id: str, run_id: str, task_id: str, map_index: int, gateway: GatewayDependency, subject: Subject
) -> Response:
    gateway.query(lambda c: _find_task(gateway, c, dag_id, run_id, task_id, map_index))
    return answer(gateway.files.xcoms(dag_id, run_id, task_id, map_index))


def _find_task(gateway: Gateway, connection: Any, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    run = run_views.find(connection, dag_id, run_id)
    return task_views.find(connection, run, gateway.definitions.get(dag_id, run["version"]), task_id, map_index)
