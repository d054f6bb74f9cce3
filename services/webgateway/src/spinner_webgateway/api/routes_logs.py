"""REST: the log of a try, by windows, as a stream, as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from spinner_webgateway.adapters.logs import DEFAULT_LINES, MAX_LINES
from spinner_webgateway.adapters.views import runs as run_views
from spinner_webgateway.adapters.views import tasks as task_views
from spinner_webgateway.api import models_tasks
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.routes_dags import GatewayDependency
from spinner_webgateway.api.routes_runs import Subject
from spinner_webgateway.domain.problems import try_not_found

router = APIRouter(
    prefix="/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/tries/{try_number}/log", tags=["logs"]
)
PING_SECONDS = 15


def find_try(
    gateway: Gateway, dag_id: str, run_id: str, task_id: str, map_index: int, number: int
) -> tuple[dict[str, Any], set[int]]:
    """Returns the try's row and the lines that its diagnosis names; raises the 404 problem."""

    def read(connection: Any) -> Any:
        run = run_views.find(connection, dag_id, run_id)
        graph = gateway.definitions.get(dag_id, run["version"])
        task = task_views.find(connection, run, graph, task_id, map_index)
        rows = task_views.try_rows(connection, task, number)
        return rows, task_views.diagnoses_of(connection, task).get(number)

    rows, diagnosis = gateway.query(read)
    if not rows:
        raise try_not_found(dag_id, run_id, task_id, map_index, number)
    return rows[0], {line["line"] for line in diagnosis["evidence"]} if diagnosis else set()


async def _find(gateway: Gateway, *where: Any) -> tuple[dict[str, Any], set[int]]:
    return await gateway.in_thread(find_try, gateway, *where)


@router.get("", response_model=models_tasks.LogPage)
async def read_log(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    try_number: int,
    gateway: GatewayDependency,
    subject: Subject,
    first_line: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = DEFAULT_LINES,
    tail: Annotated[int | None, Query(ge=1, le=MAX_LINES, description="The last lines instead.")] = None,
) -> Response:
    row, critical = await _find(gateway, dag_id, run_id, task_id, map_index, try_number)
    return answer(await gateway.logs.page(row, critical, first_line, limit, tail))


@router.get("/stream", response_class=EventSourceResponse)
async def stream_log(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    try_number: int,
    gateway: GatewayDependency,
    subject: Subject,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> EventSourceResponse:
    """Server-sent events whose data are `LogPage`s; the last one is complete, or the executor went away."""
    row, critical = await _find(gateway, dag_id, run_id, task_id, map_index, try_number)

    async def pages() -> AsyncIterator[dict[str, str]]:
        async for page in gateway.logs.stream(row, offset, critical):
            yield {"data": orjson.dumps(page).decode()}

    return EventSourceResponse(pages(), ping=PING_SECONDS)


@router.get("/raw", response_class=StreamingResponse)
async def download_log(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    try_number: int,
    gateway: GatewayDependency,
    subject: Subject,
) -> StreamingResponse:
    row, _ = await _find(gateway, dag_id, run_id, task_id, map_index, try_number)
    name = f"{dag_id}-{task_id}-{map_index}-{try_number}.log"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return StreamingResponse(gateway.logs.raw(row), media_type="text/plain; charset=utf-8", headers=headers)
