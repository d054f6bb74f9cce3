"""Mapped operators: ``Operator.partial(...).expand(...)``.

A :class:`MappedOperator` stands for all instances in the DAG, and builds one of them in the worker.
"""

from __future__ import annotations

from typing import Any

from spinner.core import stack
from spinner.core.mapping import ExpandInput, KwargsInput, ProductInput
from spinner.core.operator import BaseOperator
from spinner.core.xcom_arg import PlainXComArg, ValueSource, XComArg, find_args
from spinner.exceptions import SpinnerDagError


class OperatorPartial:
    """``Operator.partial(...)``, waiting for ``expand``."""

    def __init__(
        self, operator_class: type[BaseOperator], kwargs: dict[str, Any], *, expands_function: bool = False
    ) -> None:
        if "task_id" not in kwargs:
            raise SpinnerDagError(f"{operator_class.__name__}.partial() has no task_id.", "Pass task_id=.")
        self.operator_class = operator_class
        self.kwargs = kwargs
        self.expands_function = expands_function

    def describe(self) -> str:
        """For messages."""
        return f"{self.kwargs['task_id']!r} ({self.operator_class.__name__})"

    def expand(self, **values: Any) -> MappedOperator:
        """One instance for each combination of elements of ``values``."""
        self._check_names(set(values))
        return self._build(ProductInput(values, self.describe()))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """One instance for each dict of arguments in ``kwargs``."""
        return self._build(KwargsInput(kwargs, self.describe()))

    def _check_names(self, names: set[str]) -> None:
        if self.expands_function:
            return
        unknown = names - self.operator_class.parameter_names()
        twice = names & set(self.kwargs)
        if unknown:
            raise SpinnerDagError(
                f"{self.describe()} cannot be expanded over the unknown argument(s) {', '.join(sorted(unknown))}.",
                f"Use arguments of {self.operator_class.__name__}.",
            )
        if twice:
            raise SpinnerDagError(
                f"{self.describe()} got {', '.join(sorted(twice))} both in partial() and in expand().",
                "Keep each argument in one of them.",
            )
        if names & {"task_id", "dag", "task_group", "trigger_rule", "retries", "pool"}:
            raise SpinnerDagError(
                f"{self.describe()} cannot be expanded over {', '.join(sorted(names))}.",
                "Arguments that the scheduler reads must be the same for all instances.",
            )

    def _build(self, expand_input: ExpandInput) -> MappedOperator:
        merged = self.operator_class.merged_arguments(dict(self.kwargs))
        own = BaseOperator.parameter_names()
        base = {name: value for name, value in merged.items() if name in own}
        return MappedOperator(
            **base,
            mapped_class=self.operator_class,
            mapped_kwargs=merged,
            expand_input=expand_input,
            expands_function=self.expands_function,
        )


class MappedOperator(BaseOperator):
    """All instances of a mapped task, as one node of the DAG."""

    is_mapped = True

    def __init__(
        self,
        *,
        mapped_class: type[BaseOperator],
        mapped_kwargs: dict[str, Any],
        expand_input: ExpandInput,
        expands_function: bool,
        **kwargs: Any,
    ) -> None:
        self.mapped_class = mapped_class
        self.mapped_kwargs = mapped_kwargs
        self.expand_input = expand_input
        self.expands_function = expands_function
        super().__init__(**kwargs)
        if self.mapped_group() is not None:
            raise SpinnerDagError(
                f"Task {self.task_id!r} is expanded inside a mapped task group.", "Expand either the group or the task."
            )

    @property
    def task_type(self) -> str:
        return self.mapped_class.__name__

    @property
    def operator_class(self) -> type[BaseOperator]:
        return self.mapped_class

    def references(self) -> list[XComArg]:
        fields = set(self.mapped_class.template_fields)
        shared = {name: value for name, value in self.mapped_kwargs.items() if name in fields}
        return [*find_args(shared), *[PlainXComArg(operator) for operator in self.expand_input.operators()]]

    def instance(self, source: ValueSource) -> BaseOperator:
        """The operator of the source's map index, in no list of tasks but with this one's edges."""
        arguments = self.expand_input.resolve(source, source.map_index)
        kwargs = dict(self.mapped_kwargs)
        if self.expands_function:
            taken = set(arguments) & set(kwargs.get("op_kwargs") or {})
            if taken:
                raise SpinnerDagError(
                    f"Task {self.task_id!r} got {', '.join(sorted(taken))} both in partial() and in expand().",
                    "Keep each argument in one of them.",
                )
            kwargs["op_kwargs"] = {**(kwargs.get("op_kwargs") or {}), **arguments}
        else:
            kwargs.update(arguments)
        dag, group = kwargs.pop("dag"), kwargs.pop("task_group")
        with stack.detached():
            operator: BaseOperator = self.mapped_class(**kwargs)
        operator.dag, operator.task_group = dag, group
        operator.resolved_value_ids = self.expand_input.resolved_ids(arguments)
        operator.task_id = self.task_id
        for name in (
            "upstream_task_ids", "downstream_task_ids", "is_setup", "is_teardown", "on_failure_fail_dagrun",
            "trigger_rule", "owner",
        ):  # fmt: skip
            setattr(operator, name, getattr(self, name))
        return operator
