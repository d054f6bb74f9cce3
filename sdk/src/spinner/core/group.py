"""Task groups: a prefix for ids, a box in the graph, and one node in ``>>``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from spinner.core import stack
from spinner.core.edges import DependencyMixin
from spinner.core.names import check_id
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.core.mapping import ExpandInput
    from spinner.core.operator import BaseOperator


class TaskGroup(DependencyMixin):
    """A named set of tasks. The root group of a DAG has no id.

    ``prefix_group_id`` puts "group." before the ids inside. ``add_suffix_on_collision`` renames instead of failing.
    """

    def __init__(
        self,
        group_id: str | None,
        prefix_group_id: bool = True,
        parent_group: TaskGroup | None = None,
        dag: DAG | None = None,
        default_args: dict[str, Any] | None = None,
        tooltip: str = "",
        ui_color: str = "",
        ui_fgcolor: str = "",
        add_suffix_on_collision: bool = False,
        group_display_name: str = "",
    ) -> None:
        self.children: dict[str, BaseOperator | TaskGroup] = {}
        self.prefix_group_id = prefix_group_id
        self.tooltip = tooltip
        self.ui_color = ui_color
        self.ui_fgcolor = ui_fgcolor
        self.group_display_name = group_display_name
        self.expand_input: ExpandInput | None = None
        self._group_id = group_id
        self.parent_group: TaskGroup | None = None
        self.default_args: dict[str, Any] = {}
        if group_id is None:
            if dag is None:
                raise SpinnerDagError("A task group has no id.", "Pass group_id=.")
            self.dag = dag
            self.default_args = dict(default_args or {})
            return
        check_id(group_id, "task group", group=True)
        home = (parent_group.dag if parent_group else None) or dag or stack.current_dag()
        if home is None:
            raise SpinnerDagError(
                f"Task group {group_id!r} is in no DAG.", "Create it inside `with DAG(...)`, or pass dag=."
            )
        self.dag = home
        parent = parent_group or stack.current_group(home) or home.task_group
        self.parent_group = parent
        self.default_args = {**parent.default_args, **(default_args or {})}
        if add_suffix_on_collision:
            self._group_id = unique_id(home, parent, group_id)
        home.claim_id(self.group_id, "task group")
        parent.children[self.group_id] = self
        home.task_group_dict[self.group_id] = self

    @property
    def group_id(self) -> str:
        """Full id with the ids of the groups around it; empty for the root group."""
        if self._group_id is None:
            return ""
        return self.parent_group.child_id(self._group_id) if self.parent_group else self._group_id

    @property
    def label(self) -> str:
        """Own part of the id."""
        return self.group_display_name or self._group_id or ""

    @property
    def is_root(self) -> bool:
        """Whether this is the DAG's own group."""
        return self._group_id is None

    @property
    def node_prefix(self) -> str:
        """What stands before the ids of children, with its dot."""
        if self._group_id is None:
            return ""
        outer = self.parent_group.node_prefix if self.parent_group else ""
        return f"{outer}{self._group_id}." if self.prefix_group_id else outer

    def child_id(self, label: str) -> str:
        """Full id of a child."""
        return self.node_prefix + label

    def mapped_group(self) -> TaskGroup | None:
        """This or the nearest group around it that is expanded."""
        group: TaskGroup | None = self
        while group is not None and group.expand_input is None:
            group = group.parent_group
        return group

    def __enter__(self) -> TaskGroup:
        stack.push_group(self)
        return self

    def __exit__(self, *exc: object) -> None:
        stack.pop_group()

    def iter_tasks(self) -> Iterator[BaseOperator]:
        """All tasks inside, in the order of creation in each group."""
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield from child.iter_tasks()
            else:
                yield child

    def __iter__(self) -> Iterator[BaseOperator]:
        return self.iter_tasks()

    def get_child_by_label(self, label: str) -> BaseOperator | TaskGroup:
        """The child of that label. Raises KeyError."""
        return self.children[self.child_id(label)]

    def roots(self) -> Sequence[BaseOperator]:
        tasks = list(self.iter_tasks())
        inside = {task.task_id for task in tasks}
        return [task for task in tasks if not task.upstream_task_ids & inside]

    def leaves(self) -> Sequence[BaseOperator]:
        """The last tasks; teardowns do not count, what comes before them does."""
        tasks = [task for task in self.iter_tasks() if not task.is_teardown]
        inside = {task.task_id for task in tasks}
        found = [
            task
            for task in tasks
            if not task.downstream_task_ids & inside
            and not (task.is_setup and any(down.is_teardown for down in task.downstream_list))
        ]
        return found or [task for task in self.iter_tasks() if not task.downstream_task_ids & inside]

    get_roots = roots
    get_leaves = leaves

    def __repr__(self) -> str:
        return f"<TaskGroup {self.group_id}>"


def unique_id(dag: DAG, group: TaskGroup | None, name: str) -> str:
    """``name``, or ``name__1``, ``name__2`` … when it is taken in the group."""
    prefix = group.node_prefix if group else ""
    if prefix + name not in dag.used_ids:
        return name
    number = 1
    while f"{prefix}{name}__{number}" in dag.used_ids:
        number += 1
    return f"{name}__{number}"
