"""Deadlines: by when a run, or one of its tasks, is to have ended, and what is called when it has not.

The deadline is reference + interval. The scheduler watches it, also while nothing runs, and a worker calls the
callback. From the durations of recent runs it says beforehand which deadlines are going to be missed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from spinner.core.times import as_utc
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner_proto.definitions.v1.definitions_pb2 import Deadline

    from spinner.core.dag import DAG


class Reference:
    """Where a deadline counts from."""

    def __init__(
        self, name: str, fixed_time: datetime | None = None, max_runs: int = 0, min_runs: int | None = None
    ) -> None:
        self.name = name
        self.fixed_time = fixed_time
        self.max_runs = max_runs
        self.min_runs = max_runs if min_runs is None else min_runs

    def __repr__(self) -> str:
        return f"DeadlineReference.{self.name}"


class DeadlineReference:
    """The references that there are, with Airflow's names."""

    DAGRUN_LOGICAL_DATE = Reference("LOGICAL_DATE")
    DAGRUN_QUEUED_AT = Reference("QUEUED_TIME")

    @staticmethod
    def FIXED_DATETIME(value: datetime) -> Reference:  # noqa: N802 - Airflow's name
        """The same moment for every run."""
        return Reference("FIXED_TIME", as_utc(value))

    @staticmethod
    def AVERAGE_RUNTIME(max_runs: int = 10, min_runs: int | None = None) -> Reference:  # noqa: N802 - Airflow's name
        """The run's queueing plus the average duration of the latest ``max_runs`` (at most 30) runs that succeeded.

        While there are fewer than ``min_runs`` (default: ``max_runs``) of them, there is no deadline.
        """
        if not 1 <= max_runs <= 30 or (min_runs is not None and not 1 <= min_runs <= max_runs):
            raise SpinnerDagError(
                f"AVERAGE_RUNTIME has max_runs={max_runs}, min_runs={min_runs}.", "Use 1 ≤ min_runs ≤ max_runs ≤ 30."
            )
        return Reference("AVERAGE_RUNTIME", None, max_runs, min_runs)


class SyncCallback:
    """A function, or its import path, and arguments for it; it also gets the context if it has a place for it."""

    def __init__(self, callback_callable: Callable[..., Any] | str, kwargs: Mapping[str, Any] | None = None) -> None:
        self.function = callback_callable
        self.kwargs = dict(kwargs or {})

    @property
    def name(self) -> str:
        """For people."""
        if isinstance(self.function, str):
            return self.function
        return getattr(self.function, "__qualname__", "") or type(self.function).__name__

    def __call__(self, context: dict[str, Any]) -> None:
        function: Any = self.function
        if isinstance(function, str):
            module, _, name = function.rpartition(".")
            function = getattr(importlib.import_module(module), name)
        kwargs = dict(self.kwargs)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            parameters = ()  # type: ignore[assignment]
        if any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters):
            kwargs.setdefault("context", context)
        result = function(**kwargs)
        if inspect.isclass(function) and callable(result):
            # A notifier: made with the arguments, then called with the context.
            result = result(context)
        if inspect.isawaitable(result):
            import asyncio

            async def finish() -> None:
                await result

            asyncio.run(finish())


class AsyncCallback(SyncCallback):
    """The same for coroutine functions; a worker runs them to their end."""


class DeadlineAlert:
    """``interval`` after ``reference`` (before, when negative) it is too late: ``callback`` is called once for a run.

    With ``on_prediction`` it is also called, once, when the deadline is going to be missed. The callback's context has
    ``deadline``: a dict with name, task_id, deadline_time and predicted.
    """

    def __init__(
        self,
        reference: Reference,
        interval: timedelta,
        callback: Callable[[dict[str, Any]], Any] | SyncCallback | None = None,
        *,
        name: str = "",
        on_prediction: bool = False,
    ) -> None:
        if not isinstance(reference, Reference):
            raise SpinnerDagError(
                f"A DeadlineAlert has reference={reference!r}.", "Use DeadlineReference.DAGRUN_QUEUED_AT or another."
            )
        if not isinstance(interval, timedelta):
            raise SpinnerDagError(f"A DeadlineAlert has interval={interval!r}.", "Use a timedelta.")
        if callback is not None and not callable(callback):
            raise SpinnerDagError(f"A DeadlineAlert has callback={callback!r}.", "Use a function of the context.")
        self.reference, self.interval, self.callback = reference, interval, callback
        self.name, self.on_prediction = name, on_prediction


def alerts(value: Any, where: str) -> list[DeadlineAlert]:
    """What ``deadline=`` means. Raises SpinnerDagError."""
    if value is None:
        return []
    found = list(value) if isinstance(value, Iterable) else [value]
    for item in found:
        if not isinstance(item, DeadlineAlert):
            raise SpinnerDagError(
                f"{where} has deadline={item!r}.", "Use DeadlineAlert(reference, interval, callback)."
            )
    return found


def deadlines_of(dag: DAG) -> list[tuple[str, str, DeadlineAlert]]:
    """Name, task id ("" for the run) and alert of each deadline; orders name them by their position here."""
    found: list[tuple[str, str, DeadlineAlert]] = []
    taken: set[str] = set()
    owners = [("", dag.deadlines), *((task.task_id, task.deadlines) for task in dag.topological_order())]
    for task_id, deadlines in owners:
        for alert in deadlines:
            base = alert.name or task_id or "run"
            name, number = base, 1
            while name in taken:
                number += 1
                name = f"{base} {number}"
            taken.add(name)
            found.append((name, task_id, alert))
    return found


def to_message(name: str, task_id: str, alert: DeadlineAlert) -> Deadline:
    """The message that the scheduler reads."""
    from spinner_proto.definitions.v1 import definitions_pb2 as pb

    reference = alert.reference
    callback = alert.callback
    message = pb.Deadline(
        name=name,
        reference=pb.DeadlineReference.Value(f"DEADLINE_REFERENCE_{reference.name}"),
        task_id=task_id,
        has_callback=callback is not None,
        callback_on_prediction=alert.on_prediction,
        max_runs=reference.max_runs,
        min_runs=reference.min_runs,
    )
    message.interval.FromTimedelta(alert.interval)
    if reference.fixed_time is not None:
        message.fixed_time.FromDatetime(reference.fixed_time)
    if callback is not None:
        message.callback = getattr(callback, "name", "") or getattr(callback, "__qualname__", type(callback).__name__)
    return message
