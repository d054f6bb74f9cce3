"""A parsed repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from spinner_token_fetcher.domain.graph import FINAL_JOB, ordered, scores


@dataclass(frozen=True, slots=True)
class Job:
    """`inputs` and `outputs` are jobs; `priority` is the job's own. Times in seconds, None when unset."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: str
    command: str
    max_attempts: int = 1
    retry_delay_seconds: float = 0.0
    emails: tuple[str, ...] = ()
    priority: float = 1.0
    warn_timeout_seconds: float | None = None
    abort_timeout_seconds: float | None = None
    executor: str = ""
    job_class: str = ""
    template: str = ""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        lists = {name: tuple(content[name]) for name in ("inputs", "outputs", "emails")}
        return cls(**{**content, **lists})


@dataclass(frozen=True, slots=True)
class Schedule:
    recurrence: timedelta
    reference_time: datetime
    overrun_policy: str
    max_running_instances: int


@dataclass(frozen=True, slots=True)
class Workflow:
    """`jobs` has parents before children; the last is the final job."""

    name: str
    jobs: tuple[Job, ...]
    schedule: Schedule
    notify_emails: tuple[str, ...] = ()

    @property
    def graph(self) -> dict[str, tuple[str, ...]]:
        return {job.name: job.inputs for job in self.jobs}

    def scores(self) -> dict[str, float]:
        """Priorities as tokens carry them: sums over descendants."""
        return scores(self.name, self.graph, {job.name: job.priority for job in self.jobs})

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Workflow:
        jobs = {item["name"]: Job.from_json(item) for item in content["jobs"]}
        schedule = content["schedule"]
        graph = {name: job.inputs for name, job in jobs.items()}
        return cls(
            name=content["name"],
            jobs=tuple(jobs[name] for name in ordered(content["name"], graph)),
            schedule=Schedule(
                recurrence=timedelta(seconds=schedule["recurrence_seconds"]),
                reference_time=datetime.fromisoformat(schedule["reference_time"]),
                overrun_policy=schedule["overrun_policy"],
                max_running_instances=schedule["max_running_instances"],
            ),
            notify_emails=tuple(content["notify_emails"]),
        )


@dataclass(frozen=True, slots=True)
class WorkflowError:
    """Why a workflow (or, without a name, the whole repository) could not be parsed."""

    workflow_name: str
    error_type: str
    message: str
    file: str = ""
    line: int = 0
    stack_trace: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    version: str
    workflows: dict[str, Workflow] = field(default_factory=dict)
    errors: tuple[WorkflowError, ...] = ()


def kind_of(name: str, declared: str) -> str:
    """The final job is told apart from the others, whatever its template is."""
    return "final" if name == FINAL_JOB else declared
