"""Jobs as Pinball's workers run them; templates make them."""

from __future__ import annotations

from collections.abc import Sequence


class ShellJob:
    """A command with names of its inputs and outputs."""

    def __init__(
        self,
        name: str | None = None,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        emails: Sequence[str] | str | None = None,
        max_attempts: int | None = 1,
        retry_delay_sec: float = 0,
        warn_timeout_sec: float | None = None,
        abort_timeout_sec: float | None = None,
        command: str | None = None,
        cleanup_template: str | None = None,
        priority: float | None = None,
    ) -> None:
        self.name = name
        self.inputs = list(inputs or ())
        self.outputs = list(outputs or ())
        self.emails = emails or []
        self.max_attempts = max_attempts if max_attempts is not None else 1
        self.retry_delay_sec = retry_delay_sec
        self.warn_timeout_sec = warn_timeout_sec
        self.abort_timeout_sec = abort_timeout_sec
        self.command = command
        self.cleanup_template = cleanup_template
        self.priority = priority


class ShellConditionJob(ShellJob):
    """A job without inputs that is retried until its command succeeds."""

    def __init__(
        self,
        name: str | None = None,
        outputs: Sequence[str] | None = None,
        max_attempts: int | None = 10,
        retry_delay_sec: float = 300,
        emails: Sequence[str] | str | None = None,
        command: str | None = None,
        cleanup_template: str | None = None,
        **others: object,
    ) -> None:
        super().__init__(
            name=name,
            outputs=outputs,
            emails=emails,
            max_attempts=max_attempts,
            retry_delay_sec=retry_delay_sec,
            command=command,
            cleanup_template=cleanup_template,
        )
        self.others = others
