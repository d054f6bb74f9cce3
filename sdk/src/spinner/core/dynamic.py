"""DAGs whose tasks are computed once for each run.

A subclass of :class:`DynamicDAG` implements ``compute_layout(dynamic_dag, execution_date, dagrun_conf)`` and adds
tasks to ``dynamic_dag``. Nothing is computed while the file is read. The layout must be a function of its arguments:
the worker of each task computes it again to find its task.
"""

from __future__ import annotations

from datetime import datetime
from types import ModuleType
from typing import Any

from spinner.core.dag import DAG
from spinner.exceptions import SpinnerDagError


class DynamicDAG(DAG):
    """A DAG with a layout for each run. Create one instance in the DAG file."""

    is_dynamic = True

    def compute_layout(self, dynamic_dag: DAG, execution_date: datetime, dagrun_conf: dict[str, Any]) -> None:
        """Adds the tasks of the run of ``execution_date`` (the logical date) to ``dynamic_dag``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement compute_layout().")

    def layout(self, execution_date: datetime, dagrun_conf: dict[str, Any]) -> DAG:
        """The DAG of one run: a copy of this one's facts with the computed tasks. Raises SpinnerDagError when empty."""
        copy: DAG = object.__new__(_Layout)
        copy.__dict__.update(self.__dict__)
        copy.task_dict, copy.task_group_dict, copy.used_ids, copy.edge_labels = {}, {}, {}, {}
        from spinner.core.group import TaskGroup

        copy.task_group = TaskGroup(None, dag=copy, default_args=self.task_group.default_args)
        copy.auto_register = False
        with copy:
            self.compute_layout(copy, execution_date, dagrun_conf)
        copy.check()
        if not copy.task_dict:
            raise SpinnerDagError(
                f"compute_layout() of {self.dag_id!r} added no task.", "Add at least one task to dynamic_dag."
            )
        return copy


class _Layout(DAG):
    """A computed layout: bound to one run, and nothing is left to compute."""

    is_dynamic = False


def dynamic_dags_of(module: ModuleType) -> list[DAG]:
    """DynamicDAG subclasses of a module that nobody instantiated, when they can be created without arguments."""
    found: list[DAG] = []
    for value in list(vars(module).values()):
        if (
            isinstance(value, type)
            and issubclass(value, DynamicDAG)
            and value.__module__ == module.__name__
            and "__init__" in value.__dict__
            and value.__init__.__code__.co_argcount == 1
        ):
            dag = value()  # type: ignore[call-arg]
            dag.fileloc = str(module.__file__)
            found.append(dag)
    return found
