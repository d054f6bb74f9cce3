"""Shapes of the REST API. OpenAPI is generated from them, and the UI's client from OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")

RunStateName = Literal["queued", "running", "success", "failed"]
TaskStateName = Literal[
    "none",
    "scheduled",
    "queued",
    "running",
    "deferred",
    "up_for_retry",
    "up_for_reschedule",
    "success",
    "failed",
    "skipped",
    "upstream_failed",
    "removed",
    "restarting",
]


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[T]
    total: int
    next_cursor: str | None = None


class Problem(BaseModel):
    """Body of every error answer."""

    code: str
    message: str = Field(description="What is wrong and where.")
    fix: str = Field(default="", description="How to mend it.")


class RunSummary(BaseModel):
    dag_id: str
    run_id: str
    run_type: Literal["scheduled", "manual", "backfill", "asset", "triggered"]
    state: RunStateName
    marked: bool = False
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    run_after: datetime | None
    queued_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    version: str
    actor: str = ""
    note: str = ""
    partition_key: str = Field(default="", description="Which partition of its assets it is about.")
    reason: str = ""
    task_counts: dict[TaskStateName, int] = {}


class Run(RunSummary):
    conf: dict[str, Any] = {}
    awaiting_layout: bool = False


class DagSummary(BaseModel):
    dag_id: str
    paused: bool
    schedule: str = Field(description="As written by the author.")
    schedule_text: str = Field(description='In words, for example "Every day at 02:30 (UTC)".')
    owner: str
    project: str
    tier: int
    tags: list[str]
    description: str
    version: str
    relative_path: str
    partition: str = Field(description='Scheduler partition, for example "spinner_tier_1_0".')
    next_run_time: datetime | None
    next_logical_date: datetime | None
    no_next_run_reason: str = ""
    active_runs: int = 0
    recent_runs: list[RunSummary] = Field(default=[], description="The latest 25, newest last.")
    dynamic: bool = False
    runtime: str = "spinner"
    has_errors: bool = False
    can_edit: bool = True


class TaskNode(BaseModel):
    """A task of a definition."""

    task_id: str
    operator: str
    upstream_ids: list[str]
    group_id: str = ""
    trigger_rule: str
    retries: int
    pool: str
    priority_weight: int
    mapped: bool
    is_sensor: bool = False
    is_setup: bool = False
    is_teardown: bool = False
    doc_md: str = ""
    owner: str = ""
    template_fields: dict[str, Any] = {}
    resources: dict[str, Any] = {}


class GroupNode(BaseModel):
    group_id: str
    parent_id: str = ""
    label: str = ""
    tooltip: str = ""
    mapped: bool = False


class EdgeLabel(BaseModel):
    upstream_id: str
    downstream_id: str
    label: str


class Layout(BaseModel):
    """The graph of one version."""

    dag_id: str
    version: str
    tasks: list[TaskNode]
    groups: list[GroupNode]
    edge_labels: list[EdgeLabel] = []


class DagDetails(DagSummary):
    doc_md: str = ""
    start_date: datetime | None = None
    end_date: datetime | None = None
    catchup: bool = False
    max_active_runs: int = 0
    max_active_tasks: int = 0
    access_control: dict[str, list[str]] = {}
    params: dict[str, Any] = {}
    details: dict[str, Any] = {}
    versions: list[VersionInfo] = []


class VersionInfo(BaseModel):
    version: str
    parsed_time: datetime
    bundle: str
    bundle_version: str
    task_count: int


class SourceCode(BaseModel):
    dag_id: str
    version: str
    relative_path: str
    text: str


class GridRow(BaseModel):
    """States of one task over the runs of a grid, in the order of `Grid.runs`; null: no instance."""

    task_id: str
    states: list[TaskStateName | None]
    mapped_counts: list[dict[TaskStateName, int] | None] = []


class Grid(BaseModel):
    dag_id: str
    runs: list[RunSummary]
    rows: list[GridRow]
    layout: Layout


class EventEntry(BaseModel):
    """One event of a run, in order."""

    position: str = Field(description="partition:offset:index")
    time: datetime
    kind: str = Field(description='For example "task_state_changed".')
    task_id: str = ""
    map_index: int = -1
    text: str
    details: dict[str, Any] = {}


class ParseError(BaseModel):
    bundle: str
    relative_path: str
    bundle_version: str
    error_type: str
    message: str
    stack_trace: str
    line: int
    source_line: str
    fix: str
    dag_ids: list[str]
    detected_time: datetime
    last_updated_time: datetime
    findings: list[dict[str, Any]] = []


class EndedParseError(ParseError):
    """One that is over: mended, or replaced by another of the same file."""

    end_time: datetime


class AuditEntry(BaseModel):
    time: datetime
    actor: str
    via: str
    action: str
    subject: str
    result: str
    details: dict[str, Any] = {}


class Viewer(BaseModel):
    """Who is asking."""

    name: str
    roles: list[str]
    development: bool


class SystemInfo(BaseModel):
    version: str
    environment: str
    cluster: str
    search: Literal["database", "elasticsearch"]
    views_lag: int = Field(description="Events not yet projected.")


class SearchHit(BaseModel):
    kind: Literal["dag", "run", "task", "error", "log"]
    title: str
    subtitle: str = ""
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0
    highlight: str = ""
