"""Triggers of other runs; they ask the triggerer's interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from spinner.triggers.base import BaseTrigger, TriggerEvent


class DagStateTrigger(BaseTrigger):
    """Fires when the run is in one of ``states``."""

    def __init__(self, dag_id: str, run_id: str, states: Sequence[str], poll_interval: float = 5.0) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self.states = list(states)
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.external_task.DagStateTrigger", {
            "dag_id": self.dag_id, "run_id": self.run_id, "states": self.states, "poll_interval": self.poll_interval,
        }  # fmt: skip

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        api = self.required_api()
        while (state := await api.get_run_state(self.dag_id, self.run_id)) not in self.states:
            await asyncio.sleep(self.poll_interval)
        yield TriggerEvent({"status": "success", "run_id": self.run_id, "state": state})


class ExternalTaskTrigger(BaseTrigger):
    """Fires when all tasks (the run, without task ids) of all dates are in one of ``final_states``."""

    def __init__(
        self,
        dag_id: str,
        task_ids: Sequence[str],
        logical_dates: Sequence[datetime],
        final_states: Sequence[str],
        poll_interval: float = 2.0,
    ) -> None:
        self.dag_id = dag_id
        self.task_ids = list(task_ids)
        self.logical_dates = list(logical_dates)
        self.final_states = list(final_states)
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "spinner.triggers.external_task.ExternalTaskTrigger", {
            "dag_id": self.dag_id,
            "task_ids": self.task_ids,
            "logical_dates": self.logical_dates,
            "final_states": self.final_states,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        api = self.required_api()
        while True:
            found = [await api.get_task_states(self.dag_id, date, self.task_ids) for date in self.logical_dates]
            if all(states and all(state in self.final_states for state in states) for states in found):
                yield TriggerEvent({"status": "success", "states": found})
                return
            await asyncio.sleep(self.poll_interval)
