"""Decisions: which tasks behind this one are skipped.

``skip_after`` is pure: it reads the result and the graph, and the worker reports the ids to the scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from spinner.core.operator import BaseOperator, Context
from spinner.exceptions import SpinnerException


def skip_all_except(task: BaseOperator, branches: str | Iterable[str] | None) -> list[str]:
    """Ids of the direct downstream tasks that no branch leads to.

    ``branches`` are ids of direct downstream tasks, or of groups that begin directly behind ``task``. An id without
    its group's prefix is found in the group of ``task``. Raises SpinnerException for an id that is not behind it.
    """
    if branches is None:
        followed: list[str] = []
    elif isinstance(branches, str):
        followed = [branches]
    elif isinstance(branches, Iterable) and not isinstance(branches, dict | bytes):
        followed = list(branches)
    else:
        raise SpinnerException(
            f"Branch task {task.task_id!r} returned {branches!r}. Return a task id, a list of task ids, or None."
        )
    dag = task.dag
    if dag is None:
        return []
    chosen: set[str] = set()
    for branch in followed:
        chosen.update(_targets(task, branch))
    keep = set(chosen)
    for task_id in chosen:
        keep |= dag.task_dict[task_id].get_flat_relative_ids()
    return [down.task_id for down in task.downstream_list if down.task_id not in keep and not down.is_teardown]


def _targets(task: BaseOperator, branch: Any) -> list[str]:
    dag = task.dag
    prefix = task.task_group.node_prefix if task.task_group else ""
    if dag is not None and isinstance(branch, str):
        for name in (branch, prefix + branch):
            if name in dag.task_dict:
                if name in task.downstream_task_ids:
                    return [name]
                continue
            if name in dag.task_group_dict:
                roots = [root.task_id for root in dag.task_group_dict[name].roots()]
                return [root for root in roots if root in task.downstream_task_ids] or roots
    raise SpinnerException(
        f"Branch task {task.task_id!r} returned {branch!r}, which is not directly downstream of it. "
        f"Return one of: {', '.join(sorted(task.downstream_task_ids)) or 'none'}."
    )


class BaseBranchOperator(BaseOperator):
    """A branch by a method: subclasses implement :meth:`choose_branch`."""

    is_branch: ClassVar[bool] = True

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Id or ids of the tasks to go on with; None skips all."""
        raise NotImplementedError(f"{type(self).__name__} does not implement choose_branch().")

    def execute(self, context: Context) -> Any:
        result = self.choose_branch(context)
        return list(result) if isinstance(result, set | tuple) else result

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        return skip_all_except(self, result)
