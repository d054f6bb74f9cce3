"""Shapes of the REST API: outcomes by day, durations and landing times of one DAG."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, Field

from spinner_webgateway.api.models import RunStateName, TaskStateName


class CalendarDay(BaseModel):
    """A day on which at least one run was due."""

    date: date
    start_time: datetime = Field(description="When the day begins in the time zone of the calendar.")
    end_time: datetime = Field(description="When the next one begins; 23 or 25 hours later when the clock changes.")
    counts: dict[RunStateName, int] = Field(description="Runs that were due on it, by state.")


class Calendar(BaseModel):
    """Runs by the day on which they were due, in the time zone of the DAG's schedule. Days without one are left out."""

    dag_id: str
    timezone: str = Field(description="IANA name.")
    from_date: date
    to_date: date
    days: list[CalendarDay]
    first_run_date: date | None = Field(description="Of all runs; null without any.")
    last_run_date: date | None


class Statistics(BaseModel):
    """Of the successful ones that nobody marked; null without any."""

    count: int
    median_seconds: float | None
    p95_seconds: float | None = Field(description="Nearest rank.")
    max_seconds: float | None


class RunDuration(BaseModel):
    run_id: str
    run_type: str
    state: RunStateName
    marked: bool = False
    logical_date: datetime | None
    due_time: datetime = Field(description="When it was to start: with intervals the end of its data interval.")
    queued_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    queued_seconds: float | None = Field(description="From its making to its start.")
    duration_seconds: float | None = Field(description="From its start to its end.")
    landing_seconds: float | None = Field(description="From when it was due to its end.")


class RunDurations(BaseModel):
    """Some runs of a DAG, oldest first; `next_cursor` goes on to older ones."""

    dag_id: str
    runs: list[RunDuration]
    queued: Statistics
    duration: Statistics
    landing: Statistics
    next_cursor: str | None = None


class TaskDurationPoint(BaseModel):
    """A task in one run: of a mapped task the slowest instance and the latest end."""

    run_id: str
    state: TaskStateName
    duration_seconds: float
    landing_seconds: float
    instance_count: int


class TaskDuration(BaseModel):
    task_id: str
    run_count: int = Field(description="In how many of the runs it has ended.")
    failed_count: int
    duration: Statistics
    landing: Statistics
    points: list[TaskDurationPoint] = Field(default=[], description="Oldest run first; only for tasks asked for.")


class TaskDurations(BaseModel):
    """Tasks in the latest runs of a DAG: those asked for, else the 500 slowest by their median."""

    dag_id: str
    run_count: int = Field(description="How many runs it is about: fewer than asked for above 200,000 task instances.")
    task_count: int
    tasks: list[TaskDuration]
