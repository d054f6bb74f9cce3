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


class TaskInstance(BaseModel):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = Field(description="-1 when not mapped.")
    state: TaskStateName
    marked: bool = False
    try_number: int
    operator: str = ""
    pool: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_seconds: float | None = None
    next_time: datetime | None = None
    reason: str = ""
    worker: str = ""
    application_id: str = ""
    category: str = Field(default="", description="Diagnosis category of the latest failed try.")


class Stage(BaseModel):
    name: str = Field(description='For example "TaskExecStage".')
    start_time: datetime | None
    end_time: datetime | None
    seconds: float | None
    outcome: Literal["success", "failed", "running"]
    message: str = ""
    category: str = ""


class EvidenceLine(BaseModel):
    line: int
    text: str


class Diagnosis(BaseModel):
    category: str
    title: str
    owner: str
    confidence: float
    stage: str
    evidence: list[EvidenceLine]
    how_to_fix: str
    fingerprint: str = ""
    similar_count: int = 0


class Try(BaseModel):
    try_number: int
    state: TaskStateName
    outcome: str = Field(description='For example "failed", "out_of_memory"; "" while it runs.')
    message: str = ""
    exit_code: int | None = None
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: float | None
    stages: list[Stage] = []
    peak_memory_bytes: int | None = None
    read_bytes: int | None = Field(default=None, description="By its processes, from files and pipes.")
    written_bytes: int | None = None
    cpu_seconds: float | None = None
    memory_request_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_source: str = Field(default="", description='"set", "raised", "learned", "configured" or "".')
    log_bytes: int = 0
    worker: str = ""
    rendered: dict[str, Any] = {}
    diagnosis: Diagnosis | None = None


class MemorySample(BaseModel):
    time: datetime
    peak_memory_bytes: int
    cpu_seconds: float
    out_of_memory: bool = False


class TaskMemory(BaseModel):
    """What the next try of a task asks for, and why. Bytes; 0: nothing."""

    task_id: str
    request_bytes: int
    limit_bytes: int
    source: str = Field(description='Where these come from: "set", "raised", "learned", "configured" or "".')
    configured_request_bytes: int = 0
    configured_limit_bytes: int = 0
    learned_request_bytes: int = 0
    raised_limit_bytes: int = 0
    set_request_bytes: int = 0
    set_limit_bytes: int = 0
    set_by: str = ""
    changed_time: datetime | None = Field(default=None, description="When a person set or reset it.")
    samples: list[MemorySample] = Field(default=[], description="The latest 30 successes and out-of-memory ends.")


class CallbackRun(BaseModel):
    """The callbacks of one end: a try of their own, whose log is at `log_task_id` with this number."""

    task_id: str = Field(description='The task whose try ended; "" for the DAG.')
    map_index: int
    number: int = Field(description="The try that ended; for the DAG the number of the run's end.")
    log_task_id: str
    state: TaskStateName
    message: str = ""
    queued_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_seconds: float | None = None


class TaskInstanceDetails(TaskInstance):
    tries: list[Try] = []
    upstream_states: dict[str, TaskStateName] = {}


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


class LogLine(BaseModel):
    line: int = Field(description="1-based.")
    time: datetime | None = None
    level: str = ""
    stage: str = ""
    logger: str = ""
    text: str
    critical: bool = False


class LogPage(BaseModel):
    """A window of a log, by lines."""

    first_line: int
    lines: list[LogLine]
    total_lines: int | None = Field(description="Null while the try runs.")
    next_offset: int = Field(description="Byte offset after the last line.")
    complete: bool = Field(description="True when the try has ended and the log is whole.")
    truncated: bool = Field(default=False, description="A line was too long to be shown whole.")
    left_out_line: int | None = Field(
        default=None, description="The line that says what was left out of a long log; null when nothing was."
    )


class XComEntry(BaseModel):
    key: str
    value: Any
    size: int


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


class PoolInfo(BaseModel):
    name: str
    slots: int
    description: str = ""
    include_deferred: bool = False
    running: int = 0
    queued: int = 0


class VariableInfo(BaseModel):
    name: str
    value: str | None = Field(description="Null when it is a secret.")
    secret: bool = False
    description: str = ""


class ConnectionInfo(BaseModel):
    connection_id: str
    type: str
    host: str = ""
    port: int | None = None
    schema_: str = Field(default="", alias="schema")
    login: str = ""
    has_password: bool = False
    description: str = ""


class TriggerRequest(BaseModel):
    run_id: str | None = None
    logical_date: datetime | None = None
    conf: dict[str, Any] = Field(default={}, description="A JSON object of at most 1 MiB.")
    note: str = ""
    partition_key: str = Field(default="", max_length=250, description="Which partition of its assets it is about.")
    request_id: str | None = None


class ClearRequest(BaseModel):
    task_ids: list[str] = Field(default=[], description="Empty: all tasks of the run.")
    map_indexes: list[int] = []
    upstream: bool = False
    downstream: bool = False
    past: bool = False
    future: bool = False
    only_failed: bool = False
    latest_version: bool = False
    conf: dict[str, Any] | None = Field(
        default=None, description="What the cleared tasks see instead of the run's conf, until they are cleared again."
    )
    dry_run: bool = False
    request_id: str | None = None


class ClearedTask(BaseModel):
    run_id: str
    task_id: str
    map_index: int
    state: TaskStateName = Field(description="Before the clear.")
    effect: Literal["rerun", "kill", "removed", "added"] = Field(
        description="It starts again; after its try has been killed; the latest version lacks it, or adds it."
    )
    reason: Literal["chosen", "upstream", "downstream", "setup_teardown", "version"]


class ClearResult(BaseModel):
    """What a clear does, as the scheduler says."""

    tasks: list[ClearedTask] = Field(description="The first 2,000 of a dry run, the first 200 of a clear.")
    task_count: int = Field(description="Task instances that start again.")
    killed_count: int = Field(description="Tries in progress that are killed for it.")
    removed_count: int
    added_count: int
    run_count: int
    version: str = Field(description='The version that the runs take; "": each keeps its own.')


class MarkTasksRequest(BaseModel):
    task_ids: list[str]
    map_indexes: list[int] = []
    state: Literal["success", "failed", "skipped"]
    upstream: bool = False
    downstream: bool = False
    past: bool = False
    future: bool = False
    request_id: str | None = None


class KillTasksRequest(BaseModel):
    task_ids: list[str]
    map_indexes: list[int] = []
    request_id: str | None = None


class MarkRunRequest(BaseModel):
    state: Literal["success", "failed"]
    request_id: str | None = None


class StopRunRequest(BaseModel):
    request_id: str | None = None


class CommandResult(BaseModel):
    request_id: str
    run_id: str = ""
    task_count: int = 0


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
