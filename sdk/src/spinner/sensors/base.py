"""Sensors: ask until it is true.

Modes: ``poke`` sleeps in the worker between questions, ``reschedule`` gives the worker back, ``deferrable=True`` waits
in the executor's triggerer: sensors that have a trigger ask there, the others only pass the pauses there. The time-out
counts from the first segment of the try in all of them.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from spinner.core.operator import BaseOperator, Context
from spinner.exceptions import (
    FailTask,
    RescheduleTask,
    SensorTimeout,
    SkipTask,
    SpinnerDagError,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
    TaskTimeout,
)
from spinner.triggers.temporal import TimeDeltaTrigger


class PokeReturnValue:
    """An answer with a value to push when the sensor is done."""

    def __init__(self, is_done: bool, xcom_value: Any = None) -> None:
        self.is_done = is_done
        self.xcom_value = xcom_value

    def __bool__(self) -> bool:
        return bool(self.is_done)


class BaseSensorOperator(BaseOperator):
    """Calls :meth:`poke` until it returns something true.

    ``poke_interval``, ``timeout`` and ``max_wait`` are seconds or timedeltas. ``soft_fail`` skips instead of failing
    on a time-out or error; ``silent_fail`` takes an error of one poke as "not yet"; ``never_fail`` skips on any error.
    """

    ui_color = "#e6f1f2"
    is_sensor: ClassVar[bool] = True
    valid_modes: ClassVar[tuple[str, ...]] = ("poke", "reschedule")

    def __init__(
        self,
        *,
        poke_interval: timedelta | float = 60,
        timeout: timedelta | float = 60 * 60 * 24 * 7,
        soft_fail: bool = False,
        mode: str = "poke",
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        silent_fail: bool = False,
        never_fail: bool = False,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poke_interval = _seconds(poke_interval, "poke_interval", self.task_id)
        self.timeout = _seconds(timeout, "timeout", self.task_id)
        self.max_wait = None if max_wait is None else _seconds(max_wait, "max_wait", self.task_id)
        self.soft_fail = soft_fail
        self.mode = mode
        self.exponential_backoff = exponential_backoff
        self.silent_fail = silent_fail
        self.never_fail = never_fail
        self.deferrable = deferrable
        if mode not in self.valid_modes:
            raise SpinnerDagError(f"Sensor {self.task_id!r} has mode={mode!r}.", "Use 'poke' or 'reschedule'.")
        if soft_fail and never_fail:
            raise SpinnerDagError(f"Sensor {self.task_id!r} has soft_fail and never_fail.", "Use only one of them.")

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Whether the condition holds now."""
        raise NotImplementedError(f"{type(self).__name__} does not implement poke().")

    @property
    def reschedule(self) -> bool:
        """Whether the worker is given back between questions."""
        return self.mode == "reschedule"

    def execute(self, context: Context) -> Any:
        started: datetime = context["ti"].first_start_time
        pokes = int(context["ti"].segment) + 1 if self.reschedule or self.deferrable else 1
        while True:
            answer = self._ask(context)
            if answer:
                return answer.xcom_value if isinstance(answer, PokeReturnValue) else None
            waited = (datetime.now(UTC) - started).total_seconds()
            if waited > self.timeout:
                raise self._timed_out(waited)
            pause = self.next_pause(pokes, context["ti"].key_text)
            if not self.exponential_backoff:
                pause = _to_next_multiple(waited, pause)
            left = max(self.timeout - waited + 0.05, 0.05)
            if self.deferrable:
                self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=min(pause, left))), method_name="ask_again")
            if self.reschedule:
                raise RescheduleTask(datetime.now(UTC) + timedelta(seconds=min(pause, left)))
            time.sleep(max(0.0, min(pause, self.timeout - waited + 0.05)))
            pokes += 1

    def ask_again(self, context: Context, event: Any = None) -> Any:
        """Goes on after a pause in the triggerer."""
        return self.execute(context)

    def _ask(self, context: Context) -> Any:
        try:
            return self.poke(context)
        except (SensorTimeout, TaskDeferred, RescheduleTask, SkipTask, TaskTimeout):
            raise
        except FailTask:
            if self.soft_fail:
                raise SkipTask("Skipped because soft_fail is set.") from None
            raise
        except Exception as error:
            if self.soft_fail:
                raise SkipTask(f"Skipped because soft_fail is set: {error}") from error
            if self.never_fail:
                raise SkipTask(f"Skipped because never_fail is set: {error}") from error
            if self.silent_fail:
                context["ti"].log.exception("The question failed; silent_fail is set, so it is asked again")
                return False
            raise

    def _timed_out(self, waited: float) -> Exception:
        message = f"Sensor {self.task_id!r} has waited {waited:.0f} s, longer than its timeout of {self.timeout:.0f} s."
        if self.soft_fail or self.never_fail:
            return SkipTask(message)
        return SensorTimeout(message)

    def next_pause(self, pokes: int, seed: str = "") -> float:
        """Seconds before question number ``pokes + 1``; the same for the same seed."""
        if not self.exponential_backoff:
            return self.poke_interval
        floor: float = max(1.0, self.poke_interval * 2 ** (min(pokes, 40) - 2))
        digest = int(hashlib.sha256(f"{seed}#{pokes}".encode()).hexdigest()[:8], 16)
        pause: float = floor + digest % max(1, int(floor))
        return min(pause, self.max_wait) if self.max_wait is not None else pause

    def resume_failed(self, error: TaskDeferralError) -> Exception:
        """What a failed or late trigger means for this sensor."""
        if self.soft_fail or self.never_fail:
            return SkipTask(str(error))
        return SensorTimeout(str(error)) if isinstance(error, TaskDeferralTimeout) else error

    def remaining(self, context: Context) -> timedelta:
        """What is left of the time-out."""
        waited: timedelta = datetime.now(UTC) - context["ti"].first_start_time
        return max(timedelta(seconds=self.timeout) - waited, timedelta(0))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Goes on when the trigger has fired."""
        if isinstance(event, dict) and event.get("status") == "error":
            error = TaskDeferralError(str(event.get("message") or "The trigger failed."))
            raise self.resume_failed(error)
        return None


def poke_mode_only(cls: type[BaseSensorOperator]) -> type[BaseSensorOperator]:
    """Class decorator: the sensor keeps state between questions, so only ``poke`` is possible."""
    cls.valid_modes = ("poke",)
    return cls


def _to_next_multiple(waited: float, interval: float) -> float:
    """Seconds to the next question, which are at multiples of the interval: what a question takes doesn't add up."""
    if interval <= 0:
        return 0.0
    left = interval - waited % interval
    return left if left > 0.05 * interval else left + interval


def _seconds(value: timedelta | float, name: str, task_id: str) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise SpinnerDagError(f"Sensor {task_id!r} has {name}={value!r}.", "Use seconds or a timedelta of 0 or more.")
    return float(seconds)
