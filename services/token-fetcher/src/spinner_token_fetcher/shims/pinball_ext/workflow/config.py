"""What a repository says of its workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any


class WorkflowConfig:
    def __init__(
        self,
        jobs: Mapping[str, JobConfig],
        final_job_config: JobConfig,
        schedule: ScheduleConfig,
        notify_emails: str | Sequence[str] | None = None,
    ) -> None:
        self.jobs = jobs
        self.final_job_config = final_job_config
        self.schedule = schedule
        self.notify_emails = notify_emails


class JobConfig:
    def __init__(self, template: Any, dependency: Sequence[str] | None = None) -> None:
        self.template = template
        self.dependency = list(dependency or ())


class ScheduleConfig:
    def __init__(
        self,
        recurrence: timedelta | str,
        reference_timestamp: datetime | str | None = None,
        overrun_policy: Any = None,
        max_running_instances: int | None = None,
        time: str | None = None,
        start_date: str | None = None,
    ) -> None:
        self.recurrence = recurrence
        self.reference_timestamp = reference_timestamp
        self.overrun_policy = overrun_policy
        self.max_running_instances = max_running_instances
        self.time = time
        self.start_date = start_date
