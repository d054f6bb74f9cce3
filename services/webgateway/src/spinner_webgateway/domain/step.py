"""One record of workflow_events being applied: the rows that it is about, made when they are not there yet.

A run's counters change here and only here, together with the task instances that they count.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinner_webgateway.domain.new_rows import new_dag, new_run, new_task, new_try
from spinner_webgateway.domain.rows import Row, WorkingSet


@dataclass(slots=True)
class Step:
    """One record being applied."""

    rows: WorkingSet
    dag_id: str
    run_id: str
    time: int

    def dag(self) -> Row:
        return self.rows.edit("dags", (self.dag_id,)) or self.rows.put("dags", new_dag(self.dag_id))

    def run(self) -> Row:
        key = (self.dag_id, self.run_id)
        return self.rows.edit("runs", key) or self.rows.put("runs", new_run(*key, self.time))

    def task(self, task_id: str, map_index: int) -> Row:
        key = (self.dag_id, self.run_id, task_id, map_index)
        known = self.rows.edit("tasks", key)
        if known is not None:
            return known
        count(self.run(), "none", +1)
        return self.rows.put("tasks", new_task(*key))

    def attempt(self, task: Row, number: int) -> Row:
        key = (self.dag_id, self.run_id, task["task_id"], task["map_index"], number)
        return self.rows.edit("tries", key) or self.rows.put("tries", new_try(task, number))

    def move(self, task: Row, state: str) -> None:
        run = self.run()
        count(run, task["state"], -1)
        count(run, state, +1)
        task["state"] = state


def count(run: Row, state: str, change: int) -> None:
    """Adds to a run's counter; "none" isn't kept, it is what remains."""
    if state != "none":
        counts = run["counts"]
        counts[state] = counts.get(state, 0) + change
