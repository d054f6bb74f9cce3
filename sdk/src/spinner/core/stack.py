"""Which DAG, group and setup context a new node belongs to: three stacks, pushed by ``with``.

Also keeps the DAGs that were entered while a file is loaded, so that a loader finds those that no global names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.core.group import TaskGroup
    from spinner.core.setup import SetupTeardownScope

_dags: list[DAG] = []
_groups: list[TaskGroup] = []
_scopes: list[SetupTeardownScope] = []
entered: list[DAG] = []
_detached = 0


def push_dag(dag: DAG) -> None:
    """Makes ``dag`` the home of new tasks."""
    _dags.append(dag)
    if dag.auto_register and dag not in entered:
        entered.append(dag)


def pop_dag() -> None:
    """Undoes the latest push_dag."""
    _dags.pop()


def current_dag() -> DAG | None:
    """The DAG of the innermost ``with``; None while a detached operator is made."""
    return _dags[-1] if _dags and not _detached else None


def push_group(group: TaskGroup) -> None:
    """Makes ``group`` the home of new tasks."""
    _groups.append(group)


def pop_group() -> None:
    """Undoes the latest push_group."""
    _groups.pop()


def current_group(dag: DAG | None) -> TaskGroup | None:
    """The innermost group of ``dag`` that is entered, its root group otherwise."""
    if dag is None or _detached:
        return None
    if _groups and _groups[-1].dag is dag:
        return _groups[-1]
    return dag.task_group


def push_scope(scope: SetupTeardownScope) -> None:
    """Opens a setup/teardown scope."""
    _scopes.append(scope)


def pop_scope() -> SetupTeardownScope:
    """Closes the innermost setup/teardown scope."""
    return _scopes.pop()


def current_scopes() -> list[SetupTeardownScope]:
    """The open setup/teardown scopes, outermost first."""
    return [] if _detached else _scopes


@contextmanager
def detached() -> Iterator[None]:
    """Operators made inside belong to no DAG."""
    global _detached
    _detached += 1
    try:
        yield
    finally:
        _detached -= 1


def reset() -> None:
    """Forgets everything; called before a file is loaded, since a broken file can leave its DAG entered."""
    _dags.clear()
    _groups.clear()
    _scopes.clear()
    entered.clear()
