"""Shapes of the REST API: why nothing is running."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class ExplainedSubject(BaseModel):
    dag_id: str
    run_id: str = Field(default="", description="Empty: the DAG.")
    task_id: str = Field(default="", description="Empty: the run.")
    map_index: int | None = Field(default=None, description="Null: all instances of the task.")


class Party(BaseModel):
    """Someone or something that holds or waits; ids that have no place in it are empty."""

    kind: str = Field(
        description="dag, run, task, pool, trigger, executor, worker, asset, person, partition, file or backfill"
    )
    name: str
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0
    state: str = ""
    since: datetime | None = None


class Reason(BaseModel):
    """Something that is waited for."""

    code: str = Field(description="Stable, for example POOL_FULL; docs/explain.md lists all.")
    message: str
    since: datetime | None = None
    until: datetime | None = Field(default=None, description="When it ends by itself, if that is known.")
    holders: list[Party] = Field(default=[], description="Who holds it, at most 20.")
    holder_count: int = 0
    fix: str = Field(default="", description="How a person can end the wait.")
    waiting: list[Party] = Field(default=[], description="Which task instances wait for it, at most 20.")
    waiting_count: int = Field(default=0, description="How many wait for it; 0 when the subject itself does.")
    note: bool = Field(default=False, description="It alone doesn't hold anything back.")


class Explanation(BaseModel):
    """All that a DAG, run or task waits for at one moment; nothing when it has ended."""

    subject: ExplainedSubject
    state: str
    reasons: list[Reason]
    time: datetime
    partition: str = Field(description="The scheduler partition that says so.")
