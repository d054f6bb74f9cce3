"""Retry policies: what is done after an exception, by its class. The scheduler decides by them as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum

from spinner.core.times import as_duration
from spinner.exceptions import SpinnerDagError


class RetryAction(StrEnum):
    """DEFAULT: as if no rule fitted."""

    RETRY = "retry"
    FAIL = "fail"
    DEFAULT = "default"


def class_name(kind: type[BaseException]) -> str:
    """A class as tries report it: built-in ones without their module."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class RetryRule:
    """For ``exception`` (a class, its name, or several): ``action``, with an own delay and number of retries.

    A name may leave out the module. ``match_subclasses=False`` leaves subclasses out.
    """

    def __init__(
        self,
        exception: type[BaseException] | str | Iterable[type[BaseException] | str],
        action: RetryAction | str = RetryAction.RETRY,
        retry_delay: timedelta | float | None = None,
        reason: str | None = None,
        match_subclasses: bool = True,
        *,
        retries: int | None = None,
    ) -> None:
        kinds = [exception] if isinstance(exception, str | type) else list(exception)
        self.exceptions = [kind if isinstance(kind, str) else class_name(kind) for kind in kinds]
        if not self.exceptions:
            raise SpinnerDagError("A RetryRule names no exception.", "Pass a class such as ConnectionError.")
        try:
            self.action = RetryAction(action)
        except ValueError:
            raise SpinnerDagError(
                f"A RetryRule has the unknown action {action!r}.", "Use RetryAction.RETRY, FAIL or DEFAULT."
            ) from None
        self.retry_delay = None if retry_delay is None else as_duration(retry_delay, "retry_delay", "a RetryRule")
        self.reason = reason or ""
        self.match_subclasses = match_subclasses
        self.retries = retries

    def fits(self, error: BaseException) -> bool:
        """Whether the rule is about this exception."""
        kinds = type(error).__mro__ if self.match_subclasses else type(error).__mro__[:1]
        names = {class_name(kind) for kind in kinds if issubclass(kind, BaseException)}
        names |= {name.rpartition(".")[2] for name in names}
        return not names.isdisjoint(self.exceptions)


class ExceptionRetryPolicy:
    """The first rule that fits decides; without one, the task's own retries and delay do."""

    def __init__(self, rules: Sequence[RetryRule]) -> None:
        self.rules = list(rules)

    def rule_for(self, error: BaseException) -> RetryRule | None:
        """The rule that decides after this exception."""
        return next((rule for rule in self.rules if rule.fits(error)), None)
