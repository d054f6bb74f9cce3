"""Shapes of assets and deadlines."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from spinner_webgateway.api.models import TaskStateName

DeadlineStateName = Literal["pending", "at_risk", "met", "missed", "dropped"]


class AssetUser(BaseModel):
    dag_id: str
    task_id: str | None = Field(description="Null: the DAG's schedule.")


class AssetWatcher(BaseModel):
    """A trigger that makes updates of the asset of what it sees."""

    name: str
    trigger_class: str
    state: Literal["starting", "running", "failing", "stopped"]
    event_count: int = Field(description="Updates that it made.")
    last_event_time: datetime | None
    last_error: str = Field(description="The latest failure, also of one that runs again.")
    last_error_time: datetime | None
    executor: str


class AssetCallback(BaseModel):
    """The latest call of the callback of an asset that was no longer fresh."""

    dag_id: str
    stale_time: datetime
    state: TaskStateName
    message: str


class Asset(BaseModel):
    name: str
    alias: bool = Field(description="It stands for assets that are named when a task runs.")
    uri: str
    group: str
    extra: dict[str, Any]
    producers: list[AssetUser] = Field(description="Tasks that update it.")
    readers: list[AssetUser] = Field(description="Tasks that have it in their inlets.")
    consumers: list[AssetUser] = Field(description="DAGs that it starts.")
    update_count: int
    last_update_time: datetime | None
    freshness_seconds: float | None = Field(description="How long after an update it is fresh; null: for ever.")
    fresh_until: datetime | None
    stale: bool = Field(description="Its freshness is over, or it was never updated though it is to be fresh.")
    watchers: list[AssetWatcher] = []
    stale_callback: AssetCallback | None = None


class AssetProducer(BaseModel):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class AssetRun(BaseModel):
    dag_id: str
    run_id: str


class AssetEventEntry(BaseModel):
    asset: str
    sequence: int
    time: datetime
    producer: AssetProducer | None = Field(description="Null when it was made by hand.")
    extra: dict[str, Any]
    aliases: list[str]
    actor: str
    runs: list[AssetRun] = Field(description="Runs that it was part of.")
    partition_key: str = ""
    watcher: str = Field(default="", description="The watcher that made it.")


class AssetPartition(BaseModel):
    partition_key: str
    update: AssetEventEntry = Field(description="Its latest update.")


class AssetEventRequest(BaseModel):
    extra: dict[str, Any] = Field(default={}, description="A JSON object of at most 16 KiB.")
    partition_key: str = Field(default="", max_length=250, description="Which partition was updated.")
    request_id: str | None = None


class DeadlineEntry(BaseModel):
    dag_id: str
    run_id: str
    name: str
    task_id: str | None = Field(description="Null: the run.")
    state: DeadlineStateName
    deadline_time: datetime
    expected_end_time: datetime | None = Field(description="When history says that it will end; of those at risk.")
    median_seconds: float | None
    run_count: int = Field(description="How many runs the median is of.")
    changed_time: datetime
