"""One tree of exceptions, grouped by what the catcher can do.

What user code raises to steer its own try: :class:`SkipTask`, :class:`FailTask`, :class:`TaskDeferred`,
:class:`RescheduleTask`. What the SDK raises while a DAG file is read: :class:`SpinnerDagError` and its children, which
always carry a fix. Airflow's names are aliases of the same classes, so either can be caught.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spinner.triggers.base import BaseTrigger


class SpinnerException(Exception):  # noqa: N818 - AirflowException is the name that users know
    """Base of every error that Spinner raises on purpose."""


class SpinnerDagError(SpinnerException):
    """A DAG file is wrong. ``message`` says what and where, ``fix`` how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\nHow to fix: {self.fix}"


class DuplicateTaskIdFound(SpinnerDagError):  # noqa: N818
    """Two nodes of one DAG have the same id."""


class DagCycleError(SpinnerDagError):
    """The dependencies of a DAG form a cycle."""


class ParamValidationError(SpinnerException, ValueError):
    """A parameter's value does not fit its schema."""


class SkipTask(SpinnerException):
    """Ends the try as skipped."""


class FailTask(SpinnerException):
    """Fails the task at once, whatever retries are left."""


class TaskTimeout(BaseException):
    """The execution_timeout passed. A BaseException, so that ``except Exception`` in user code cannot swallow it."""


class TaskTerminated(BaseException):
    """The try was cancelled."""


class SensorTimeout(SpinnerException):
    """A sensor's condition did not come true in time."""


class PokeReturnValueError(SpinnerException):
    """A sensor returned something that is neither true nor false."""


class TaskDeferralError(SpinnerException):
    """The trigger of a deferred task failed."""


class TaskDeferralTimeout(TaskDeferralError):  # noqa: N818
    """The trigger of a deferred task did not fire in time."""


class XComNotFound(SpinnerException):
    """An XCom that the task needs was not pushed."""


class UnmappableXCom(SpinnerException):
    """A task that mapped tasks expand over returned something without a length."""


class RuntimeUnavailable(SpinnerException):
    """A call needs a running task or an executor, and there is none."""


class RescheduleTask(SpinnerException):
    """Ends this segment of the try; the next one starts at ``reschedule_date`` (an aware datetime)."""

    def __init__(self, reschedule_date: datetime) -> None:
        super().__init__(f"rescheduled to {reschedule_date.isoformat()}")
        self.reschedule_date = reschedule_date


class TaskDeferred(BaseException):
    """Ends this segment of the try and waits for ``trigger`` without a worker.

    The next segment calls ``method_name`` of the operator with ``context``, ``event=`` the trigger's payload, and
    ``kwargs``, which must be JSON (with the typed values that XComs know).
    """

    def __init__(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        super().__init__(f"deferred to {type(trigger).__name__}")
        self.trigger = trigger
        self.method_name = method_name
        self.kwargs = kwargs or {}
        self.timeout = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout


class DecisionNeeded(BaseException):
    """Ends this segment of the try and waits for a person's answer, without a worker.

    ``options`` may be chosen, one or ``multiple``; ``params`` is a form, as ``ParamsDict.dump`` gives it. After
    ``timeout`` the ``defaults`` are taken. The next segment calls ``method_name`` of the operator with ``context`` and
    ``event=`` the answer.
    """

    def __init__(
        self,
        *,
        subject: str,
        options: Sequence[str],
        method_name: str,
        kind: str = "choice",
        body: str = "",
        defaults: Sequence[str] = (),
        multiple: bool = False,
        params: Mapping[str, Any] | None = None,
        assignees: Sequence[str] = (),
        timeout: timedelta | None = None,
    ) -> None:
        super().__init__(f"asks: {subject}")
        self.kind, self.subject, self.body = kind, subject, body
        self.options, self.defaults, self.multiple = list(options), list(defaults), multiple
        self.params = dict(params or {})
        self.assignees = list(assignees)
        self.timeout = timeout
        self.method_name = method_name


AirflowException = SpinnerException
AirflowSkipException = SkipTask
AirflowFailException = FailTask
AirflowRescheduleException = RescheduleTask
RescheduleException = RescheduleTask
AirflowSensorTimeout = SensorTimeout
AirflowTaskTimeout = TaskTimeout
AirflowTaskTerminated = TaskTerminated
AirflowDagCycleException = DagCycleError
AirflowNotFoundException = XComNotFound
