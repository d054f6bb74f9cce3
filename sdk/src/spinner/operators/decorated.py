"""What ``@task`` and its kinds make. Authors use :data:`spinner.task`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from spinner.core.calls import call_with_context
from spinner.core.operator import Context
from spinner.exceptions import SpinnerException
from spinner.operators.bash import BashOperator
from spinner.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from spinner.sensors.python import PythonSensor


class DecoratedPythonOperator(PythonOperator):
    """A function as a task."""

    custom_operator_name: ClassVar[str] = "@task"


class DecoratedBranchOperator(BranchPythonOperator):
    """A function that chooses branches."""

    custom_operator_name: ClassVar[str] = "@task.branch"


class DecoratedShortCircuitOperator(ShortCircuitOperator):
    """A function that decides whether to go on."""

    custom_operator_name: ClassVar[str] = "@task.short_circuit"


class DecoratedSensor(PythonSensor):
    """A function that is asked until it says yes."""

    custom_operator_name: ClassVar[str] = "@task.sensor"


class DecoratedBashOperator(BashOperator):
    """A function whose result is the command. The command is rendered like any template."""

    custom_operator_name: ClassVar[str] = "@task.bash"
    template_fields: Sequence[str] = ("op_args", "op_kwargs", "env", "cwd")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(bash_command="set by the function", **kwargs)
        self.python_callable = python_callable
        self.op_args = op_args if op_args is not None else ()
        self.op_kwargs = op_kwargs if op_kwargs is not None else {}

    def execute(self, context: Context) -> Any:
        command = call_with_context(self.python_callable, list(self.op_args), self.op_kwargs, context)
        if not isinstance(command, str) or not command.strip():
            raise SpinnerException(f"@task.bash {self.task_id!r} returned {command!r}. Return the command as a string.")
        self.bash_command = context["ti"].render(command)
        context["ti"].add_rendered("bash_command", self.bash_command)
        return super().execute(context)
