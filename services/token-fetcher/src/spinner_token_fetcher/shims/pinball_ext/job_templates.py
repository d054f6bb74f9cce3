"""Templates: how a job of a repository becomes a command. Repositories subclass them and override parts."""

# The shims are imported by their own top-level names, which exist only in the child process.
# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pinball.workflow.job import ShellConditionJob, ShellJob

# Both shapes that were in use; the reader of a repository chooses one.
PINBALL_COMMAND = (
    "cd %(job_repo_dir)s && %(runner)s "
    "--job_import_dirs_config=%(job_import_dirs_config)s --job_class_name=%(job_class_name)s "
    '--job_params="%(job_params)s" %(executor_params)s%(executor_config)s%(runner_extra_params)s'
)
DATA_JOB_RUNNER_COMMAND = (
    "%(runner)s --job_full_class=%(job_full_class)s %(executor_params)s%(executor_config)s%(runner_extra_params)s"
    '--job_args="%(job_params)s"'
)


class JobTemplateBase:
    def __init__(
        self,
        name: str,
        write_lock: str | None = None,
        max_attempts: int | None = 1,
        emails: Sequence[str] | str | None = None,
        priority: float | None = None,
        warn_timeout_sec: float | None = None,
        abort_timeout_sec: float | None = None,
    ) -> None:
        self.name = name
        self.write_lock = write_lock
        self.priority = priority
        self._max_attempts = max_attempts
        self._emails = emails if emails is not None else []
        self._warn_timeout_sec = warn_timeout_sec
        self._abort_timeout_sec = abort_timeout_sec

    def get_pinball_job(self, inputs: list[str], outputs: list[str], params: dict[str, Any] | None = None) -> ShellJob:
        raise NotImplementedError(f"{type(self).__name__} has no get_pinball_job")

    def _shell_job(self, inputs: list[str], outputs: list[str], command: str) -> ShellJob:
        return ShellJob(
            name=self.name,
            inputs=inputs,
            outputs=outputs,
            command=command,
            emails=self._emails,
            max_attempts=self._max_attempts,
            warn_timeout_sec=self._warn_timeout_sec,
            abort_timeout_sec=self._abort_timeout_sec,
        )


class JobTemplate(JobTemplateBase):
    """Runs a job class by the job runner. `name` is the class."""

    command_template = PINBALL_COMMAND

    def __init__(
        self,
        name: str,
        executor: str | None = None,
        executor_config: Mapping[str, Any] | None = None,
        write_lock: str | None = None,
        max_attempts: int | None = 1,
        emails: Sequence[str] | str | None = None,
        priority: float | None = None,
        warn_timeout_sec: float | None = None,
        abort_timeout_sec: float | None = None,
    ) -> None:
        if not name:
            raise ValueError("A JobTemplate needs the name of a job class")
        super().__init__(name, write_lock, max_attempts, emails, priority, warn_timeout_sec, abort_timeout_sec)
        self._job_class_name = name
        self._executor = executor
        self._executor_config = executor_config

    def get_pinball_job(self, inputs: list[str], outputs: list[str], params: dict[str, Any] | None = None) -> ShellJob:
        given = params or {}
        job_params = dict(given.get("job_params") or {})
        yesterday = str((datetime.now(UTC) - timedelta(days=1)).date())
        job_params["end_date"] = given.get("end_date", job_params.get("end_date", yesterday))
        class_name = self._job_class_name
        command = self.command_template % {
            "job_repo_dir": given.get("job_repo_dir", "."),
            "job_import_dirs_config": given.get("job_import_dirs_config", ""),
            "runner": given.get("runner", "python -m pinball_ext.job.job_runner"),
            "job_class_name": class_name,
            "job_full_class": (given.get("job_modules") or {}).get(class_name, class_name),
            "job_params": _pairs(job_params),
            "executor_params": f"--executor={self._executor} " if self._executor else "",
            "executor_config": f'--executor_config="{_pairs(self._executor_config)}" ' if self._executor_config else "",
            "runner_extra_params": f"--write_lock_name={self.write_lock} " if self.write_lock else "",
        }
        return self._shell_job(inputs, outputs, command.strip())


class CommandJobTemplate(JobTemplateBase):
    """Runs a command. It is %-formatted twice: here with params, when it runs with event attributes."""

    def __init__(
        self,
        name: str,
        command: str,
        write_lock: str | None = None,
        max_attempts: int | None = None,
        emails: Sequence[str] | str | None = None,
        priority: float | None = None,
        warn_timeout_sec: float | None = None,
        abort_timeout_sec: float | None = None,
    ) -> None:
        super().__init__(name, write_lock, max_attempts, emails, priority, warn_timeout_sec, abort_timeout_sec)
        self._command = command

    def get_pinball_job(self, inputs: list[str], outputs: list[str], params: dict[str, Any] | None = None) -> ShellJob:
        return self._shell_job(inputs, outputs, self._command % (params or {}))


class ConditionTemplateBase:
    def __init__(
        self,
        name: str,
        max_attempts: int = 10,
        retry_delay_sec: float = 300,
        emails: Sequence[str] | str | None = None,
        priority: float | None = None,
    ) -> None:
        self.name = name
        self.max_attempts = max_attempts
        self.retry_delay_sec = retry_delay_sec
        self.emails = emails if emails is not None else []
        self.priority = priority

    def get_pinball_condition(self, outputs: list[str], params: dict[str, Any] | None = None) -> ShellConditionJob:
        raise NotImplementedError(f"{type(self).__name__} has no get_pinball_condition")


class CommandConditionTemplate(ConditionTemplateBase):
    """Tries a command every 20 minutes for a day."""

    def __init__(
        self,
        name: str,
        max_attempts: int = 72,
        retry_delay_sec: float = 1200,
        emails: Sequence[str] | str | None = None,
        priority: float | None = None,
    ) -> None:
        super().__init__(name, max_attempts, retry_delay_sec, emails, priority)

    def get_pinball_condition(self, outputs: list[str], params: dict[str, Any] | None = None) -> ShellConditionJob:
        if not params or "command" not in params:
            raise ValueError(f"Condition {self.name} has no command: override get_pinball_condition and pass params")
        return ShellConditionJob(
            name=self.name,
            outputs=outputs,
            emails=self.emails,
            max_attempts=self.max_attempts,
            retry_delay_sec=self.retry_delay_sec,
            command=params["command"],
            cleanup_template=params.get("cleanup_template"),
        )


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (values or {}).items())
