"""Edges: ``>>`` and ``<<`` between tasks, groups, values and lists of them, with labels.

Invariant: an edge is always between two tasks of the same DAG; groups and values stand for tasks (a group for its
roots on the right side of ``>>`` and for its leaves on the left side).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.operator import BaseOperator


class DependencyMixin:
    """Anything that can stand on either side of ``>>``."""

    def roots(self) -> Sequence[BaseOperator]:
        """Tasks that an edge into this ends at."""
        raise NotImplementedError

    def leaves(self) -> Sequence[BaseOperator]:
        """Tasks that an edge out of this starts from."""
        raise NotImplementedError

    def set_downstream(self, other: Any, edge_modifier: Label | None = None) -> None:
        """Makes everything in ``other`` run after this."""
        for node in _flatten(other):
            if isinstance(node, Label):
                node.add_upstream(self)
            else:
                connect(self, node, edge_modifier.label if edge_modifier else None)

    def set_upstream(self, other: Any, edge_modifier: Label | None = None) -> None:
        """Makes this run after everything in ``other``."""
        for node in _flatten(other):
            if isinstance(node, Label):
                node.add_downstream(self)
            else:
                connect(node, self, edge_modifier.label if edge_modifier else None)

    def __rshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return other

    def __lshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return other

    def __rrshift__(self, other: Any) -> DependencyMixin:
        self.set_upstream(other)
        return self

    def __rlshift__(self, other: Any) -> DependencyMixin:
        self.set_downstream(other)
        return self


class Label(DependencyMixin):
    """A text on the edges through it: ``a >> Label("big") >> b``."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._upstream: list[DependencyMixin] = []
        self._downstream: list[DependencyMixin] = []

    def roots(self) -> Sequence[BaseOperator]:
        return [task for node in self._downstream for task in node.roots()]

    def leaves(self) -> Sequence[BaseOperator]:
        return [task for node in self._upstream for task in node.leaves()]

    def add_upstream(self, node: DependencyMixin) -> None:
        """Puts ``node`` before the label."""
        self._upstream.append(node)
        for other in self._downstream:
            connect(node, other, self.label)

    def add_downstream(self, node: DependencyMixin) -> None:
        """Puts ``node`` behind the label."""
        self._downstream.append(node)
        for other in self._upstream:
            connect(other, node, self.label)

    def set_downstream(self, other: Any, edge_modifier: Label | None = None) -> None:
        for node in _flatten(other):
            self.add_downstream(node)

    def set_upstream(self, other: Any, edge_modifier: Label | None = None) -> None:
        for node in _flatten(other):
            self.add_upstream(node)


EdgeModifier = Label


def connect(upstream: DependencyMixin, downstream: DependencyMixin, label: str | None = None) -> None:
    """Adds the edges from ``upstream`` to ``downstream``; adding one twice is the same as once."""
    for before in upstream.leaves():
        for after in downstream.roots():
            add_edge(before, after, label)


def add_edge(before: BaseOperator, after: BaseOperator, label: str | None = None) -> None:
    """Adds one edge. Raises SpinnerDagError when the tasks are of different DAGs or the same task."""
    if before is after:
        raise SpinnerDagError(f"Task {before.task_id!r} depends on itself.", "Remove the edge from the task to itself.")
    dag = before.dag or after.dag
    if dag is None:
        raise SpinnerDagError(
            f"Tasks {before.task_id!r} and {after.task_id!r} are in no DAG.",
            "Create them inside `with DAG(...)`, or pass dag= to one of them.",
        )
    for task in (before, after):
        if task.dag is None:
            dag.add_task(task)
        elif task.dag is not dag:
            raise SpinnerDagError(
                f"Tasks {before.task_id!r} and {after.task_id!r} are in different DAGs.",
                "Wait for a task of another DAG with an ExternalTaskSensor.",
            )
    before.downstream_task_ids.add(after.task_id)
    after.upstream_task_ids.add(before.task_id)
    if label:
        dag.edge_labels[(before.task_id, after.task_id)] = label


def _flatten(value: Any) -> Iterator[Any]:
    from spinner.core.mapped import OperatorPartial

    if isinstance(value, DependencyMixin):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        for item in value:
            yield from _flatten(item)
    elif isinstance(value, OperatorPartial):
        raise SpinnerDagError(
            f"Task {value.describe()} has partial() but no expand().", "Add .expand(...) or .expand_kwargs(...)."
        )
    else:
        raise SpinnerDagError(
            f"{value!r} cannot be upstream or downstream of a task.",
            "Use tasks, task groups, or lists of them; call a function made by @task before using it.",
        )


def chain(*nodes: Any) -> None:
    """Each node runs after the one before it. Two lists side by side must have the same length and pair up."""
    for before, after in pairwise(nodes):
        if isinstance(before, DependencyMixin) or isinstance(after, DependencyMixin):
            if isinstance(before, DependencyMixin):
                before.set_downstream(after)
            else:
                after.set_upstream(before)
            continue
        left, right = list(before), list(after)
        if len(left) != len(right):
            raise SpinnerDagError(
                f"chain() got neighbouring lists of {len(left)} and {len(right)} tasks.",
                "Give both the same length, or use cross_downstream() to connect all with all.",
            )
        for first, second in zip(left, right, strict=True):
            first.set_downstream(second)


def chain_linear(*nodes: Any) -> None:
    """Each node, or all nodes of each list, runs after all of the one before it."""
    for before, after in pairwise(nodes):
        cross_downstream(before, after)


def cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    """Every one of ``to_tasks`` runs after every one of ``from_tasks``."""
    targets = list(_flatten(to_tasks))
    for node in _flatten(from_tasks):
        node.set_downstream(targets)
