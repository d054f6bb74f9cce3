"""Shapes of the REST API for backfills."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from spinner_webgateway.api.models import RunStateName

BackfillStateName = Literal["created", "running", "paused", "cancelled", "done"]
RunOrderName = Literal["forward", "backward"]
ReprocessName = Literal["none", "failed", "completed"]


class BackfillRequest(BaseModel):
    from_date: datetime = Field(description="First logical date; UTC when it names no zone.")
    to_date: datetime = Field(description="Last logical date, included; a date without time is the whole day.")
    run_order: RunOrderName = "forward"
    reprocess_behavior: ReprocessName = Field(
        default="none", description="Which runs that exist run again: none, failed ones, or all that have ended."
    )
    max_active_runs: int = Field(default=0, ge=0, le=1000, description="Runs at once; 0: 10.")
    task_ids: list[str] | str = Field(
        default=[], description="Only these tasks, a list or a text with commas; empty: all."
    )
    conf: dict[str, Any] = Field(default={}, description="A JSON object of at most 1 MiB, for all its runs.")
    skip_callbacks: bool = Field(default=False, description="No callbacks, so no alerts, for its runs.")
    pool: str = Field(default="", description='Takes the place of default_pool in its runs; "": the pool "backfill".')
    note: str = ""
    partition_key: str = Field(default="", max_length=250, description='Of all its runs; "": as the schedule says.')
    override_cap: bool = Field(default=False, description="Longer than the cap; for administrators.")
    dry_run: bool = Field(default=False, description="Only say what it would do.")
    request_id: str | None = None


class BackfillInterval(BaseModel):
    logical_date: datetime
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    action: Literal["create", "reprocess", "skip"]
    run_id: str
    reason: str = Field(default="", description="Why it is skipped.")
    run_state: RunStateName | None = Field(default=None, description="State of its run now.")


class BackfillPlan(BaseModel):
    """What a backfill would do, in its order; at most 1,000 intervals are listed."""

    interval_count: int
    create_count: int
    reprocess_count: int
    skip_count: int
    version: str
    task_count: int
    intervals: list[BackfillInterval]


class BackfillResult(BaseModel):
    backfill_id: str = Field(description='"" for a dry run.')
    request_id: str
    interval_count: int
    plan: BackfillPlan | None = None


class Backfill(BaseModel):
    dag_id: str
    backfill_id: str
    state: BackfillStateName
    reason: str = ""
    from_date: datetime
    to_date: datetime
    run_order: RunOrderName
    reprocess_behavior: ReprocessName
    max_active_runs: int
    task_ids: list[str]
    skip_callbacks: bool
    pool: str
    note: str = ""
    version: str
    actor: str
    created_time: datetime
    end_time: datetime | None
    interval_count: int
    taken_count: int = Field(description="Intervals that were taken up.")
    skip_count: int
    run_counts: dict[RunStateName, int] = Field(description="Its runs by state.")


class BackfillChange(BaseModel):
    state: Literal["paused", "running", "cancelled"]
    stop_runs: bool = Field(default=False, description="With cancelled: end its running runs too.")
    request_id: str | None = None
