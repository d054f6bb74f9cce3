"""Functions as tasks, and decisions made by functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from spinner.core.calls import call_with_context
from spinner.core.operator import BaseOperator, Context
from spinner.exceptions import SpinnerDagError
from spinner.operators.branch import skip_all_except


class PythonOperator(BaseOperator):
    """Calls ``python_callable(*op_args, **op_kwargs)`` with the entries of the context that it has parameters for.

    ``templates_dict`` is rendered and passed in the context. Files named in templates with ``templates_exts`` are read.
    """

    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "templates_dict": "json", "op_args": "py", "op_kwargs": "py",
    }  # fmt: skip
    ui_color = "#ffefeb"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Sequence[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise SpinnerDagError(
                f"Task {self.task_id!r} has python_callable={python_callable!r}, which cannot be called.",
                "Pass the function itself, without parentheses.",
            )
        self.python_callable = python_callable
        self.op_args = op_args if op_args is not None else ()
        self.op_kwargs = op_kwargs if op_kwargs is not None else {}
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs

    def call(self, context: Context) -> Any:
        """Calls the function."""
        extended = {**context, "templates_dict": self.templates_dict}
        return call_with_context(self.python_callable, list(self.op_args), self.op_kwargs, extended)

    def execute(self, context: Context) -> Any:
        return self.call(context)


class BranchPythonOperator(PythonOperator):
    """The function returns the id or ids of the tasks to go on with; the others directly behind are skipped."""

    is_branch: ClassVar[bool] = True

    def execute(self, context: Context) -> Any:
        result = super().execute(context)
        return list(result) if isinstance(result, set | tuple) else result

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        return skip_all_except(self, result)


class ShortCircuitOperator(PythonOperator):
    """Skips what is behind when the function returns something false.

    With ``ignore_downstream_trigger_rules`` everything behind is skipped; without, only the tasks directly behind,
    and the trigger rules of the others decide. Teardowns are never skipped.
    """

    is_branch: ClassVar[bool] = True

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        if result:
            return []
        behind = self.get_flat_relatives() if self.ignore_downstream_trigger_rules else self.downstream_list
        return [task.task_id for task in behind if not task.is_teardown]


def get_current_context() -> Context:
    """The context of the running task. Raises RuntimeUnavailable outside of one."""
    from spinner.runtime.current import current_context

    return current_context()
