"""Shapes of the REST API about task instances: tries, stages, diagnoses, memory, callbacks, logs, XComs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from spinner_webgateway.api.models import TaskStateName


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
