"""REST: a DAG's calendar, durations and landing times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from spinner_webgateway.adapters.views import dags as dag_views
from spinner_webgateway.adapters.views import timings
from spinner_webgateway.api import models_timings as models
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import Cursor, answer, states_of
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.routes_dags import GatewayDependency, Text
from spinner_webgateway.domain import local_days, words
from spinner_webgateway.domain.problems import invalid

router = APIRouter(prefix="/dags/{dag_id}", tags=["timings"])

MAX_DAYS = 366
MAX_TASK_IDS = 20
_YEAR = timedelta(days=MAX_DAYS - 1)
FIRST_DATE, LAST_DATE = date(1900, 1, 1), date(9998, 12, 31)
Runs = Annotated[int, Query(ge=1, le=timings.MAX_RUNS, description="The latest so many.")]
TypeText = Annotated[str, Query(max_length=500, description="Only runs of these types, separated by commas.")]


@router.get("/calendar", response_model=models.Calendar)
def get_calendar(
    dag_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    from_date: Annotated[date | None, Query(description="First day; unset: a year before the last.")] = None,
    to_date: Annotated[date | None, Query(description="Last day, included; unset: today in the DAG's zone.")] = None,
) -> Response:
    """Runs by day and state, in the time zone of the DAG's schedule; at most 366 days."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    return answer(gateway.query(lambda c: read_calendar(gateway, c, dag_id, from_date, to_date)))


def read_calendar(
    gateway: Gateway, connection: Any, dag_id: str, from_date: date | None, to_date: date | None
) -> dict[str, Any]:
    """Returns the shape `Calendar`, of the year up to today where days are unset; raises ProblemError."""
    row = dag_views.find_row(connection, dag_id)
    graph = gateway.definitions.get(dag_id, row["version"])
    zone = local_days.zone_name(graph.definition if graph else None)
    last = to_date or local_days.today(zone)
    first = from_date or max(last, FIRST_DATE + _YEAR) - _YEAR
    if not FIRST_DATE <= first <= last <= LAST_DATE or (last - first).days >= MAX_DAYS:
        raise invalid(
            "DATES_INVALID",
            f"From {first} to {last} is not a period of 1 to {MAX_DAYS} days.",
            "Give from_date and to_date, for example 2026-01-01 and 2026-12-31.",
        )
    return timings.calendar(connection, dag_id, zone, first, last)


@router.get("/durations", response_model=models.RunDurations)
def get_durations(
    dag_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    runs: Runs = 100,
    run_type: TypeText = "",
    state: Text = "",
    cursor: Cursor = None,
) -> Response:
    """How long runs were queued and running, and how long after they were due they ended. Older ones by `cursor`."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    chosen = timings.RunChoice(dag_id, runs, _types(run_type), states_of(state, words.RUN_STATES), cursor)
    return answer(gateway.query(lambda c: read_run_durations(c, chosen)))


def read_run_durations(connection: Any, chosen: timings.RunChoice) -> dict[str, Any]:
    """Returns the shape `RunDurations`; raises ProblemError."""
    dag_views.find_row(connection, chosen.dag_id)
    return timings.run_durations(connection, chosen)


@router.get("/task-durations", response_model=models.TaskDurations)
def get_task_durations(
    dag_id: str,
    gateway: GatewayDependency,
    caller: CallerDependency,
    task_id: Annotated[
        list[str] | None, Query(max_length=MAX_TASK_IDS, description="Up to 20; unset: the slowest.")
    ] = None,
    runs: Runs = 100,
    run_type: TypeText = "",
    state: Annotated[str, Query(max_length=500, description="Only runs in these states.")] = "",
    cursor: Cursor = None,
) -> Response:
    """The same for tasks: with `task_id` also a point for each run. The cursor is that of `/durations`."""
    gateway.access.check(caller, "dag.read", f"dag/{dag_id}")
    chosen = timings.RunChoice(dag_id, runs, _types(run_type), states_of(state, words.RUN_STATES), cursor)
    return answer(gateway.query(lambda c: read_task_durations(c, chosen, task_id or ())))


def read_task_durations(connection: Any, chosen: timings.RunChoice, task_ids: Sequence[str]) -> dict[str, Any]:
    """Returns the shape `TaskDurations`; raises ProblemError."""
    dag_views.find_row(connection, chosen.dag_id)
    return timings.task_durations(connection, chosen, list(dict.fromkeys(task_ids)))


def _types(text: str) -> list[str]:
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for name in wanted:
        if name not in words.RUN_TYPES:
            known = ", ".join(words.RUN_TYPES)
            raise invalid("RUN_TYPE_UNKNOWN", f"There is no run type {name[:80]!r}.", f"Choose of {known}.")
    return wanted
