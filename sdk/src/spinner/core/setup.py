"""Scopes of setups and teardowns: ``with teardown.as_teardown(setups=setup):``.

A task made or touched inside a scope runs between its setups and its teardowns. Only the scope's first tasks get an
edge from the setups and only its last ones an edge to the teardowns; the order inside is the tasks' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinner.core.edges import add_edge
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.operator import BaseOperator


class SetupTeardownScope:
    """One open scope."""

    def __init__(self, setups: list[BaseOperator], teardowns: list[BaseOperator]) -> None:
        self.setups = setups
        self.teardowns = teardowns
        self.tasks: list[BaseOperator] = []

    def add(self, task: BaseOperator) -> None:
        """Puts ``task`` into the scope."""
        if task not in self.tasks and task not in self.setups and task not in self.teardowns:
            self.tasks.append(task)

    def close(self) -> None:
        """Draws the edges of the scope."""
        inside = {task.task_id for task in self.tasks}
        work = [task for task in self.tasks if not task.is_teardown]
        for task in work:
            if not (task.upstream_task_ids & inside):
                for setup in self.setups:
                    add_edge(setup, task)
        for task in self.tasks:
            downstream = {task_id for task_id in task.downstream_task_ids & inside if not _is_teardown(task, task_id)}
            if not downstream and not task.is_teardown:
                for teardown in self.teardowns:
                    add_edge(task, teardown)


def _is_teardown(task: BaseOperator, task_id: str) -> bool:
    return task.dag is not None and task.dag.task_dict[task_id].is_teardown


def scope_of(task: BaseOperator) -> SetupTeardownScope:
    """The scope that ``with task:`` opens. Raises SpinnerDagError when it is neither setup nor teardown."""
    if not task.is_setup and not task.is_teardown:
        raise SpinnerDagError(
            f"Task {task.task_id!r} is used in `with` but is neither a setup nor a teardown.",
            "Call .as_setup() or .as_teardown(setups=...) on it first.",
        )
    if task.is_teardown:
        return SetupTeardownScope([up for up in task.upstream_list if up.is_setup], [task])
    return SetupTeardownScope([task], [down for down in task.downstream_list if down.is_teardown])
