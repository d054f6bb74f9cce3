"""REST: backfills (B5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from spinner_webgateway.adapters.backfill_actions import Wish, task_list
from spinner_webgateway.adapters.views import backfills as views
from spinner_webgateway.api import models, models_commands
from spinner_webgateway.api import models_backfills as shapes
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer, states_of
from spinner_webgateway.api.routes_dags import GatewayDependency, Text
from spinner_webgateway.domain import words

router = APIRouter(tags=["backfills"])
BackfillId = Annotated[str, Path(max_length=250)]


def wish_of(body: shapes.BackfillRequest) -> Wish:
    """Returns what a request asks for."""
    named = body.task_ids
    return Wish(
        from_date=body.from_date,
        to_date=body.to_date,
        run_order=body.run_order,
        reprocess_behavior=body.reprocess_behavior,
        max_active_runs=body.max_active_runs,
        task_ids=task_list(named if isinstance(named, str) else ",".join(named)),
        conf=body.conf,
        skip_callbacks=body.skip_callbacks,
        pool=body.pool,
        note=body.note,
        partition_key=body.partition_key,
    )


@router.get("/backfills", response_model=models.Page[shapes.Backfill])
def list_backfills(
    gateway: GatewayDependency,
    caller: CallerDependency,
    dag_id: Text = "",
    state: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Backfills, newest first; `state` may be a list with commas."""
    gateway.access.check(caller, "dag.read" if dag_id else "run.list", f"dag/{dag_id}" if dag_id else "runs")
    return answer(
        gateway.query(lambda c: views.listing(c, dag_id, states_of(state, words.BACKFILL_STATES), limit, cursor))
    )


@router.post("/dags/{dag_id}/backfills", response_model=shapes.BackfillResult)
async def create_backfill(
    dag_id: str, body: shapes.BackfillRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """Creates a backfill; `dry_run` only says what it would do."""
    subject = f"dag/{dag_id}"
    wish = wish_of(body)
    if body.override_cap:
        gateway.access.check(caller, "backfill.override_cap", subject)
    gateway.backfills.check_span(dag_id, wish, unlimited=body.override_cap)
    if body.dry_run:
        gateway.access.check(caller, "backfill.create", subject)
        done = await gateway.backfills.create(caller, dag_id, wish, dry_run=True, request_id=body.request_id)
    else:
        facts = body.model_dump(mode="json", exclude_defaults=True)
        request_id = facts.pop("request_id", "") or ""
        facts["conf"] = sorted(body.conf)[:50]
        with gateway.access.act(caller, "backfill.create", subject, request_id, **facts) as under_way:
            done = await gateway.backfills.create(caller, dag_id, wish, dry_run=False, request_id=body.request_id)
            under_way.request_id = done.request_id
            under_way.details["backfill_id"] = done.backfill_id
    return answer(
        {
            "backfill_id": done.backfill_id,
            "request_id": done.request_id,
            "interval_count": done.interval_count,
            "plan": views.plan_shape(done.plan) if done.plan is not None else None,
        }
    )


@router.get("/dags/{dag_id}/backfills/{backfill_id}", response_model=shapes.Backfill)
def get_backfill(
    dag_id: str, backfill_id: BackfillId, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: views.find(c, dag_id, backfill_id)))


@router.get("/dags/{dag_id}/backfills/{backfill_id}/intervals", response_model=models.Page[shapes.BackfillInterval])
def list_intervals(
    dag_id: str,
    backfill_id: BackfillId,
    gateway: GatewayDependency,
    caller: CallerDependency,
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Intervals that were taken up, by date."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: views.intervals(c, dag_id, backfill_id, limit, cursor)))


@router.patch("/dags/{dag_id}/backfills/{backfill_id}", response_model=models_commands.CommandResult)
async def change_backfill(
    dag_id: str,
    backfill_id: BackfillId,
    body: shapes.BackfillChange,
    gateway: GatewayDependency,
    caller: CallerDependency,
) -> Response:
    """Pauses, resumes or cancels a backfill."""
    subject = f"backfill/{dag_id}/{backfill_id}"
    facts = {"state": body.state, "stop_runs": body.stop_runs}
    with gateway.access.act(caller, "backfill.change", subject, body.request_id or "", **facts):
        row = await gateway.backfills.change(caller, dag_id, backfill_id, body.state, body.stop_runs, body.request_id)
    return answer({"request_id": row["request_id"], "run_id": "", "task_count": row["task_count"]})
