"""Tokens as Pinball's master names them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from spinner_token_fetcher.domain.model import Job, Workflow
from spinner_token_fetcher.domain.schedule import next_run

START_INPUT = "__WORKFLOW_START__"
START_EVENT = "workflow_start_event"


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is "job", "event" or "schedule"; only a job token has a job, only a schedule token expires."""

    name: str
    kind: str
    priority: float = 0.0
    job: Job | None = None
    expiration_time: datetime | None = None


def tokens(workflow: Workflow, instance: str, now: datetime) -> list[Token]:
    """Returns the tokens of one instance: a job token a job, a start event a top job, and the schedule's token."""
    priorities = workflow.scores()
    found = [
        Token(f"/workflow/{workflow.name}/{instance}/job/waiting/{job.name}", "job", priorities[job.name], job)
        for job in workflow.jobs
    ]
    found += [
        Token(f"/workflow/{workflow.name}/{instance}/input/{job.name}/{START_INPUT}/{START_EVENT}", "event")
        for job in workflow.jobs
        if not job.inputs
    ]
    due = next_run(workflow.schedule.reference_time, workflow.schedule.recurrence, now)
    found.append(Token(f"/schedule/workflow/{workflow.name}", "schedule", expiration_time=due))
    return found
