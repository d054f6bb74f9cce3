"""TaskFlow: functions as tasks, groups and DAGs.

Calling a decorated function makes a task and returns a reference to what it will return. Parameters named like the
template context (``ti``, ``logical_date`` …) and ``**kwargs`` are filled in the worker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from spinner.core import stack
from spinner.core.dag import DAG
from spinner.core.group import TaskGroup, unique_id
from spinner.core.mapped import MappedOperator, OperatorPartial
from spinner.core.mapping import DagParam, GroupArgument, KwargsInput, ProductInput
from spinner.core.operator import BaseOperator
from spinner.core.xcom_arg import PlainXComArg, XComArg
from spinner.exceptions import SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.mapping import ExpandInput


def _operator(name: str) -> Any:
    from spinner.operators import decorated

    return getattr(decorated, name)


class TaskFunction:
    """A function that makes a task each time it is called."""

    def __init__(
        self,
        function: Callable[..., Any],
        operator: str,
        kwargs: dict[str, Any],
        *,
        setup: bool = False,
        teardown: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(function, TaskFunction):
            raise SpinnerDagError(f"{function.__name__} is decorated twice.", "Keep one @task decorator.")
        if not callable(function):
            raise SpinnerDagError(f"@task got {function!r}, which is no function.", "Decorate a function.")
        functools.update_wrapper(self, function)
        self.function = function
        self._operator = operator
        self._kwargs = kwargs
        self._setup = setup
        self._teardown = teardown

    __name__: str

    def _task_kwargs(self) -> dict[str, Any]:
        kwargs = dict(self._kwargs)
        group: TaskGroup | None = kwargs.get("task_group")
        dag = kwargs.get("dag") or (group.dag if group else None) or stack.current_dag()
        group = group or stack.current_group(dag)
        task_id = kwargs.get("task_id") or self.function.__name__.replace("<lambda>", "lambda_task")
        if dag is not None and not kwargs.pop("exact_task_id", False):
            task_id = unique_id(dag, group, task_id)
        kwargs["task_id"] = task_id
        if "multiple_outputs" not in kwargs and self._operator == "DecoratedPythonOperator":
            kwargs["multiple_outputs"] = _returns_dict(self.function)
        if not kwargs.get("doc_md") and self.function.__doc__:
            import textwrap

            kwargs["doc_md"] = textwrap.dedent(self.function.__doc__).strip()
        return kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> XComArg:
        self._check_call(args, kwargs)
        operator = _operator(self._operator)(
            python_callable=self.function, op_args=list(args), op_kwargs=kwargs, **self._task_kwargs()
        )
        return self._finish(operator)

    def _finish(self, operator: BaseOperator) -> XComArg:
        if self._setup:
            operator.as_setup()
        if self._teardown is not None:
            operator.as_teardown(**self._teardown)
        return PlainXComArg(operator)

    def _check_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        from spinner.core.calls import check_arguments

        check_arguments(self.function, args, kwargs)

    def override(self, **kwargs: Any) -> TaskFunction:
        """The same with other operator arguments, such as task_id or retries."""
        return TaskFunction(
            self.function, self._operator, {**self._kwargs, **kwargs}, setup=self._setup, teardown=self._teardown
        )

    def partial(self, **kwargs: Any) -> MappedFunction:
        """Arguments that all instances share."""
        return MappedFunction(self, kwargs)

    def expand(self, **values: Any) -> XComArg:
        """One instance for each combination of elements of ``values``."""
        return MappedFunction(self, {}).expand(**values)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """One instance for each dict of arguments."""
        return MappedFunction(self, {}).expand_kwargs(kwargs)

    def make_mapped(self, shared: dict[str, Any], build: Callable[[OperatorPartial], MappedOperator]) -> XComArg:
        """The mapped task of this function."""
        partial = OperatorPartial(
            _operator(self._operator),
            {**self._task_kwargs(), "python_callable": self.function, "op_kwargs": shared},
            expands_function=True,
        )
        return self._finish(build(partial))


class MappedFunction:
    """``function.partial(...)``, waiting for ``expand``."""

    def __init__(self, task: TaskFunction, shared: dict[str, Any]) -> None:
        self._task = task
        self._shared = shared

    def partial(self, **kwargs: Any) -> MappedFunction:
        """More shared arguments."""
        return MappedFunction(self._task, {**self._shared, **kwargs})

    def expand(self, **values: Any) -> XComArg:
        """One instance for each combination of elements of ``values``."""
        from spinner.core.calls import check_names

        twice = set(values) & set(self._shared)
        if twice:
            raise SpinnerDagError(
                f"{self._task.__name__} got {', '.join(sorted(twice))} both in partial() and in expand().",
                "Keep each argument in one of them.",
            )
        check_names(self._task.function, {*self._shared, *values})
        return self._task.make_mapped(self._shared, lambda partial: partial.expand(**values))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """One instance for each dict of arguments."""
        return self._task.make_mapped(self._shared, lambda partial: partial.expand_kwargs(kwargs))


def _returns_dict(function: Callable[..., Any]) -> bool:
    annotation = getattr(function, "__annotations__", {}).get("return")
    if isinstance(annotation, str):
        head = annotation.split("[", 1)[0].strip()
        return head in ("dict", "Dict", "typing.Dict", "Mapping", "typing.Mapping")
    origin = getattr(annotation, "__origin__", annotation)
    return isinstance(origin, type) and (issubclass(origin, dict) or hasattr(annotation, "__total__"))


class TaskDecorators:
    """``@task`` and its kinds."""

    def __call__(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        return self._make("DecoratedPythonOperator", function, kwargs)

    def python(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        """Same as ``@task``."""
        return self._make("DecoratedPythonOperator", function, kwargs)

    def branch(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        """The function returns the id or ids of the tasks to go on with."""
        return self._make("DecoratedBranchOperator", function, kwargs)

    def short_circuit(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        """What comes behind is skipped when the function returns something false."""
        return self._make("DecoratedShortCircuitOperator", function, kwargs)

    def sensor(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        """The function is asked again until it returns something true."""
        return self._make("DecoratedSensor", function, kwargs)

    def bash(self, function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
        """The function returns the command to run."""
        return self._make("DecoratedBashOperator", function, kwargs)

    def _make(self, operator: str, function: Callable[..., Any] | None, kwargs: dict[str, Any]) -> Any:
        if function is None:
            return lambda function: TaskFunction(function, operator, kwargs)
        return TaskFunction(function, operator, kwargs)


task = TaskDecorators()


def setup(function: Any) -> TaskFunction:
    """A function or ``@task`` function whose tasks are setups."""
    made = function if isinstance(function, TaskFunction) else task(function)
    made._setup = True
    return made


def teardown(function: Any = None, *, setups: Any = None, on_failure_fail_dagrun: bool = False) -> Any:
    """A function or ``@task`` function whose tasks are teardowns of ``setups``."""

    def decorate(function: Any) -> TaskFunction:
        made = function if isinstance(function, TaskFunction) else task(function)
        made._teardown = {"setups": setups, "on_failure_fail_dagrun": on_failure_fail_dagrun}
        return made

    return decorate if function is None else decorate(function)


class GroupFunction:
    """A function that makes a task group each time it is called."""

    def __init__(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._kwargs = kwargs

    def override(self, **kwargs: Any) -> GroupFunction:
        """The same with other group arguments, such as group_id."""
        return GroupFunction(self._function, {**self._kwargs, **kwargs})

    def _group(self) -> TaskGroup:
        kwargs = {"group_id": self._function.__name__, "add_suffix_on_collision": True, **self._kwargs}
        if not kwargs.get("tooltip"):
            kwargs["tooltip"] = (self._function.__doc__ or "").strip()
        return TaskGroup(**kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._group() as group:
            result = self._function(*args, **kwargs)
        return group if result is None else _GroupResult.of(result, group)

    def partial(self, **kwargs: Any) -> MappedGroup:
        """Arguments that all instances of the group share."""
        return MappedGroup(self, kwargs)

    def expand(self, **values: Any) -> TaskGroup:
        """The group once for each combination of elements of ``values``."""
        return MappedGroup(self, {}).expand(**values)

    def expand_kwargs(self, kwargs: Any) -> TaskGroup:
        """The group once for each dict of arguments."""
        return MappedGroup(self, {}).expand_kwargs(kwargs)

    def make_mapped(self, shared: dict[str, Any], names: set[str], expand_input: ExpandInput) -> TaskGroup:
        """The mapped group of this function."""
        group = self._group()
        if group.mapped_group() is not None:
            raise SpinnerDagError(
                f"Task group {group.group_id!r} is expanded inside a mapped task group.", "Expand only one of them."
            )
        group.expand_input = expand_input
        with group:
            self._function(**shared, **{name: GroupArgument(group, name) for name in sorted(names)})
        for operator in expand_input.operators():
            for root in group.roots():
                operator.set_downstream(root)
        return group


class _GroupResult:
    """What a task group function returned; reads as that value, and ``>>`` treats it as the whole group."""

    @staticmethod
    def of(result: Any, group: TaskGroup) -> Any:
        if isinstance(result, PlainXComArg):
            return _GroupXComArg(result, group)
        return result


class _GroupXComArg(PlainXComArg):
    def __init__(self, arg: PlainXComArg, group: TaskGroup) -> None:
        super().__init__(arg.operator, arg.key)
        self._group = group

    def roots(self) -> Any:
        return self._group.roots()

    def leaves(self) -> Any:
        return self._group.leaves()


class MappedGroup:
    """``group.partial(...)``, waiting for ``expand``."""

    def __init__(self, function: GroupFunction, shared: dict[str, Any]) -> None:
        self._function = function
        self._shared = shared

    def expand(self, **values: Any) -> TaskGroup:
        """The group once for each combination of elements of ``values``."""
        expand_input = ProductInput(values, "A task group")
        return self._function.make_mapped(self._shared, set(values), expand_input)

    def expand_kwargs(self, kwargs: Any) -> TaskGroup:
        """The group once for each dict of arguments; the function's other parameters are the names."""
        from spinner.core.calls import parameter_names

        names = set(parameter_names(self._function._function)) - set(self._shared)
        return self._function.make_mapped(self._shared, names, KwargsInput(kwargs, "A task group"))


def task_group(function: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """A function whose tasks form a group."""
    if "group_id" not in kwargs and "name" in kwargs:
        kwargs["group_id"] = kwargs.pop("name")
    if function is None:
        return lambda function: GroupFunction(function, kwargs)
    return GroupFunction(function, kwargs)


def dag(dag_id: str | Callable[..., Any] = "", **kwargs: Any) -> Any:
    """A function that makes a DAG when it is called; its parameters become the DAG's params."""

    def decorate(function: Callable[..., Any]) -> Callable[..., DAG]:
        @functools.wraps(function)
        def make(*args: Any, **arguments: Any) -> DAG:
            from spinner.core.calls import bind_defaults

            values = bind_defaults(function, args, arguments)
            name = dag_id if isinstance(dag_id, str) and dag_id else function.__name__
            options = {**kwargs, "params": {**(kwargs.get("params") or {}), **values}}
            options.setdefault("doc_md", function.__doc__)
            with DAG(name, **options) as made:
                made.fileloc = function.__code__.co_filename
                function(**{key: DagParam(key) for key in values})
            return made

        return make

    if callable(dag_id):
        raise SpinnerDagError(
            "@dag is used without arguments.", "Write @dag(tier=Tier.TIER3, access_control={...}, schedule=...)."
        )
    return decorate
