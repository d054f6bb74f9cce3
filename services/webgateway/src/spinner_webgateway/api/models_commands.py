"""Shapes of the REST API for commands about runs and their tasks, and of the answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from spinner_webgateway.api.models import TaskStateName


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
