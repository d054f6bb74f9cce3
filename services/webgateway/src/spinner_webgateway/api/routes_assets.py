"""REST: assets, their events and lineage; deadlines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from spinner_webgateway.adapters.logs import DEFAULT_LINES, MAX_LINES
from spinner_webgateway.adapters.views import assets as asset_views
from spinner_webgateway.api import models, models_assets, models_commands, models_tasks
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer
from spinner_webgateway.api.routes_dags import GatewayDependency, Text, command_answer
from spinner_webgateway.domain.asset_rows import DEADLINE_STATES
from spinner_webgateway.domain.problems import invalid

router = APIRouter(tags=["assets"])
# Names have slashes; written as %2F or as they are.
AssetName = Annotated[str, Path(min_length=1, max_length=1500)]


@router.get("/assets", response_model=models.Page[models_assets.Asset])
def list_assets(
    gateway: GatewayDependency,
    caller: CallerDependency,
    query: Text = "",
    stale: bool = False,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Assets and aliases with who makes, reads and waits for them."""
    gateway.access.check(caller, "asset.list", "assets")
    return answer(gateway.query(lambda c: asset_views.listing(c, gateway.definitions, query, limit, cursor, stale)))


@router.get("/assets/{name:path}/events", response_model=models.Page[models_assets.AssetEventEntry])
def list_asset_events(
    name: AssetName, gateway: GatewayDependency, caller: CallerDependency, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """Updates of an asset, latest first."""
    gateway.access.check(caller, "asset.read", f"asset/{name}")
    return answer(gateway.query(lambda c: asset_views.events(c, name, limit, cursor)))


@router.get("/assets/{name:path}/partitions", response_model=models.Page[models_assets.AssetPartition])
def list_asset_partitions(
    name: AssetName, gateway: GatewayDependency, caller: CallerDependency, limit: Limit = DEFAULT, cursor: Cursor = None
) -> Response:
    """Partitions of an asset with the latest update of each, latest first."""
    gateway.access.check(caller, "asset.read", f"asset/{name}")
    return answer(gateway.query(lambda c: asset_views.partitions(c, name, limit, cursor)))


@router.get("/assets/{name:path}/log", response_model=models_tasks.LogPage)
async def read_asset_log(
    name: AssetName,
    gateway: GatewayDependency,
    caller: CallerDependency,
    watcher: Text = "",
    tail: Annotated[int, Query(ge=1, le=MAX_LINES)] = DEFAULT_LINES,
) -> Response:
    """The end of the log of a watcher; without one, of the latest callback for an asset that was not fresh."""
    gateway.access.check(caller, "asset.read", f"asset/{name}")
    row = await gateway.read(lambda c: asset_views.log_row(c, name, watcher))
    return answer(await gateway.logs.page(row, set(), None, tail, tail))


@router.post("/assets/{name:path}/events", response_model=models_commands.CommandResult)
async def create_asset_event(
    name: AssetName, body: models_assets.AssetEventRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """Records an update by hand: DAGs that wait for the asset go on."""
    with gateway.access.act(caller, "asset.update", f"asset/{name[:500]}", body.request_id or "") as under_way:
        await gateway.read(lambda c: asset_views.details(c, gateway.definitions, name))
        row = await gateway.assets.create_event(caller, name, body.extra, body.request_id, body.partition_key)
        under_way.request_id = row["request_id"]
    return command_answer(row)


@router.get("/assets/{name:path}", response_model=models_assets.Asset)
def get_asset(name: AssetName, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "asset.read", f"asset/{name}")
    return answer(gateway.query(lambda c: asset_views.details(c, gateway.definitions, name)))


@router.get("/deadlines", response_model=models.Page[models_assets.DeadlineEntry])
def list_deadlines(
    gateway: GatewayDependency,
    caller: CallerDependency,
    dag_id: Text = "",
    run_id: Text = "",
    state: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Deadlines of runs and tasks, the urgent ones first; `state` may be a list with commas."""
    gateway.access.check(caller, "deadline.list", f"dag/{dag_id}" if dag_id else "deadlines")
    wanted = [name for name in state.split(",") if name]
    unknown = set(wanted) - set(DEADLINE_STATES.values())
    if unknown:
        raise invalid(
            "STATE_UNKNOWN",
            f"state={state!r} is not a state of deadlines.",
            "Use pending, at_risk, met, missed or dropped.",
        )
    return answer(gateway.query(lambda c: asset_views.deadline_page(c, dag_id, run_id, wanted, limit, cursor)))
