"""REST: failures of one cause."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from spinner_webgateway.adapters.views import failures
from spinner_webgateway.api import models
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import DEFAULT, Cursor, Limit, answer
from spinner_webgateway.api.routes_dags import GatewayDependency, Text

router = APIRouter(tags=["failures"])


class Failure(BaseModel):
    """A failed try and its diagnosis in short."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = Field(description="-1 when not mapped.")
    try_number: int
    category: str
    title: str
    owner: str
    stage: str
    time: datetime = Field(description="When it was diagnosed.")


@router.get("/failures", response_model=models.Page[Failure])
def list_failures(
    gateway: GatewayDependency,
    caller: CallerDependency,
    fingerprint: Annotated[str, Query(min_length=1, max_length=250, description="Of a diagnosis: its cause.")],
    dag_id: Text = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Failed tries of all DAGs, or of one, whose diagnoses have this fingerprint; newest first."""
    if dag_id:
        gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    else:
        gateway.access.check(caller, "run.list", "runs")
    return answer(gateway.query(lambda c: failures.listing(c, fingerprint, dag_id, limit, cursor)))
