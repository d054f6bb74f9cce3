"""Triggers of other runs and their tasks. They are told of changes (:mod:`spinner.triggers.states`): no polling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from spinner.core.times import as_utc
from spinner.triggers.base import BaseTrigger, TriggerEvent
from spinner.triggers.states import watch_states


class DagRunTrigger(BaseTrigger):
    """Fires with ``{"run_id", "state"}`` once a run is in one of ``states``."""

    def __init__(self, dag_id: str, run_id: str, states: Sequence[str]) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self.states = list(states)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.external.DagRunTrigger", {
            "dag_id": self.dag_id, "run_id": self.run_id, "states": self.states,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with aclosing(watch_states(self.dag_id, run_id=self.run_id)) as changes:  # type: ignore[type-var]
            async for states in changes:
                if states and states[0] in self.states:
                    yield TriggerEvent({"run_id": self.run_id, "state": states[0]})
                    return


class ExternalTaskTrigger(BaseTrigger):
    """Fires with ``{"logical_date", "state"}`` of the first run that is over for the worse, or with ``{}`` when all
    are in ``allowed_states``.

    Waits for the runs of ``dag_id`` with these logical dates; without task ids the run's state counts.
    """

    def __init__(
        self,
        dag_id: str,
        logical_dates: Sequence[datetime],
        task_ids: Sequence[str] = (),
        allowed_states: Sequence[str] = ("success",),
        stop_states: Sequence[str] = (),
    ) -> None:
        self.dag_id = dag_id
        self.logical_dates = [as_utc(date) for date in logical_dates]
        self.task_ids = list(task_ids)
        self.allowed_states = list(allowed_states)
        self.stop_states = list(stop_states)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.external.ExternalTaskTrigger", {
            "dag_id": self.dag_id, "logical_dates": self.logical_dates, "task_ids": self.task_ids,
            "allowed_states": self.allowed_states, "stop_states": self.stop_states,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        waiting = [asyncio.ensure_future(self._settled(date)) for date in self.logical_dates]
        try:
            for first in asyncio.as_completed(waiting):
                date, stopped = await first
                if stopped:
                    yield TriggerEvent({"logical_date": date, "state": stopped})
                    return
        finally:
            for one in waiting:
                one.cancel()
        yield TriggerEvent({})

    async def _settled(self, date: datetime) -> tuple[datetime, str]:
        """Waits until a date's run is as wanted; or its state that stops the wait."""
        changes = watch_states(self.dag_id, logical_date=date, task_ids=self.task_ids)
        async with aclosing(changes):  # type: ignore[type-var]
            async for states in changes:
                for state in states or ():
                    if state in self.stop_states:
                        return date, state
                if states and all(state in self.allowed_states for state in states):
                    return date, ""
        raise RuntimeError(f"nobody tells the states of {self.dag_id} any more")
