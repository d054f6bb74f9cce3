"""Operators: what a task does, with Airflow's common arguments.

``default_args`` of the DAG and the groups around fill every argument that the operator knows and the call does not
give. References in template fields become edges once the operator is built. Mapped operators are in
:mod:`spinner.core.mapped`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from spinner.core import stack
from spinner.core.edges import DependencyMixin, add_edge
from spinner.core.names import TriggerRule, WeightRule, check_id, parse_trigger_rule, parse_weight_rule
from spinner.core.params import ParamsDict
from spinner.core.setup import scope_of
from spinner.core.times import as_duration, as_utc
from spinner.core.xcom_arg import PlainXComArg, XComArg, find_args
from spinner.exceptions import SpinnerDagError, TaskDeferred

if TYPE_CHECKING:
    from spinner.core.dag import DAG
    from spinner.core.deadlines import DeadlineAlert
    from spinner.core.group import TaskGroup
    from spinner.core.mapped import OperatorPartial
    from spinner.core.retry_policy import ExceptionRetryPolicy
    from spinner.triggers.base import BaseTrigger

Context = dict[str, Any]
Callback = Callable[[Context], Any]


class WeightStrategy(Protocol):
    """A custom weight rule, asked for each try while the file is read; see ``PriorityWeightStrategy``."""

    def get_weight(self, ti: Any) -> int:
        """The weight of a try; ``ti`` has task, task_id, dag_id, try_number and map_index (-1)."""


class OperatorMeta(type):
    """Applies default_args and finishes operators after their outermost ``__init__``."""

    def parameter_names(cls) -> set[str]:
        """Every keyword that some ``__init__`` of the class takes."""
        cached = cls.__dict__.get("_parameter_names")
        if cached is None:
            cached = set()
            for base in cls.__mro__:
                code = getattr(base.__dict__.get("__init__"), "__code__", None)
                if code is not None:
                    cached.update(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
            cls._parameter_names = cached
        return cached

    def merged_arguments(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """``kwargs`` completed by default_args of the DAG and groups; ``dag`` and ``task_group`` filled in."""
        group: TaskGroup | None = kwargs.get("task_group")
        dag = kwargs.get("dag") or (group.dag if group else None) or stack.current_dag()
        group = group or stack.current_group(dag)
        own = kwargs.pop("default_args", None) or {}
        defaults = {**(dag.default_args if dag else {}), **(group.default_args if group else {}), **own}
        known = cls.parameter_names()
        merged = {name: value for name, value in defaults.items() if name in known and name not in kwargs}
        if "params" in defaults and "params" in kwargs:
            kwargs["params"] = {**defaults["params"], **(kwargs["params"] or {})}
        return {**merged, **kwargs, "dag": dag, "task_group": group}

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args:
            raise SpinnerDagError(
                f"{cls.__name__} got positional arguments.", "Use keyword arguments, for example task_id='load'."
            )
        if "task_id" not in kwargs:
            raise SpinnerDagError(f"A {cls.__name__} has no task_id.", "Pass task_id=.")
        merged = cls.merged_arguments(kwargs)
        unknown = set(merged) - cls.parameter_names()
        if unknown and not cls.__dict__.get("accepts_any_argument"):
            raise SpinnerDagError(
                f"{cls.__name__} {kwargs['task_id']!r} does not know the argument(s) {', '.join(sorted(unknown))}.",
                "Check the spelling; arguments of the function go into op_kwargs=.",
            )
        operator = super().__call__(**merged)
        operator.connect_references()
        return operator


class BaseOperator(DependencyMixin, metaclass=OperatorMeta):
    """A task. Subclasses implement :meth:`execute`; times are datetimes with zone (naive means UTC)."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color = "#fff"
    ui_fgcolor = "#000"
    is_sensor: ClassVar[bool] = False
    is_branch: ClassVar[bool] = False
    is_mapped: ClassVar[bool] = False
    # Ids of argument values that came from XComs and are not templates.
    resolved_value_ids: frozenset[int] = frozenset()

    def __init__(
        self,
        *,
        task_id: str,
        owner: str = "",
        email: str | Sequence[str] | None = None,
        email_on_retry: bool = True,
        email_on_failure: bool = True,
        retries: int | None = 0,
        retry_delay: timedelta | float = timedelta(minutes=5),
        retry_exponential_backoff: bool | float = False,
        max_retry_delay: timedelta | float | None = None,
        retry_jitter: float = 0.0,
        retry_policy: ExceptionRetryPolicy | None = None,
        queued_timeout: timedelta | float | None = None,
        deadline: DeadlineAlert | Sequence[DeadlineAlert] | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        depends_on_past: bool = False,
        ignore_first_depends_on_past: bool = True,
        wait_for_past_depends_before_skipping: bool = False,
        wait_for_downstream: bool = False,
        dag: DAG | None = None,
        params: Mapping[str, Any] | None = None,
        priority_weight: int = 1,
        weight_rule: str | WeightStrategy = WeightRule.DOWNSTREAM,
        queue: str = "default",
        pool: str | None = None,
        pool_slots: int = 1,
        sla: timedelta | None = None,
        execution_timeout: timedelta | float | None = None,
        on_execute_callback: Callback | Sequence[Callback] | None = None,
        on_failure_callback: Callback | Sequence[Callback] | None = None,
        on_success_callback: Callback | Sequence[Callback] | None = None,
        on_retry_callback: Callback | Sequence[Callback] | None = None,
        on_skipped_callback: Callback | Sequence[Callback] | None = None,
        pre_execute: Callback | None = None,
        post_execute: Callable[[Context, Any], Any] | None = None,
        trigger_rule: str = TriggerRule.ALL_SUCCESS,
        resources: dict[str, Any] | None = None,
        run_as_user: str | None = None,
        map_index_template: str | None = None,
        max_active_tis_per_dag: int | None = None,
        max_active_tis_per_dagrun: int | None = None,
        executor: str | None = None,
        executor_config: dict[str, Any] | None = None,
        do_xcom_push: bool = True,
        multiple_outputs: bool = False,
        inlets: Any = None,
        outlets: Any = None,
        task_group: TaskGroup | None = None,
        doc: str | None = None,
        doc_md: str | None = None,
        doc_json: str | None = None,
        doc_yaml: str | None = None,
        doc_rst: str | None = None,
        task_display_name: str | None = None,
        allow_nested_operators: bool = True,
    ) -> None:
        check_id(task_id, "task")
        self.label = task_id
        self.task_id = task_group.child_id(task_id) if task_group else task_id
        self.dag: DAG | None = None
        self.task_group = task_group
        self.upstream_task_ids: set[str] = set()
        self.downstream_task_ids: set[str] = set()
        self.is_setup = False
        self.is_teardown = False
        self.on_failure_fail_dagrun = False

        self.owner = owner or (dag.owner if dag else "")
        self.email = [email] if isinstance(email, str) else list(email or ())
        self.email_on_retry = email_on_retry
        self.email_on_failure = email_on_failure
        self.retries = self._non_negative("retries", retries or 0)
        self.retry_delay = as_duration(retry_delay, "retry_delay", self.task_id)
        self.retry_exponential_backoff = bool(retry_exponential_backoff)
        self.retry_backoff_factor = (
            0.0 if isinstance(retry_exponential_backoff, bool) else float(retry_exponential_backoff)
        )
        self.max_retry_delay = _optional_duration(max_retry_delay, "max_retry_delay", self.task_id)
        self.retry_jitter = _part(retry_jitter, self.task_id)
        self.retry_policy = retry_policy
        self.queued_timeout = _optional_duration(queued_timeout, "queued_timeout", self.task_id)
        self.deadlines = [] if deadline is None else _alerts(deadline, f"Task {self.task_id!r}")
        self.execution_timeout = _optional_duration(execution_timeout, "execution_timeout", self.task_id)
        self.start_date = as_utc(start_date) if start_date else None
        self.end_date = as_utc(end_date) if end_date else None
        self.depends_on_past = depends_on_past or wait_for_downstream
        self.ignore_first_depends_on_past = ignore_first_depends_on_past
        self.wait_for_past_depends_before_skipping = wait_for_past_depends_before_skipping
        self.wait_for_downstream = wait_for_downstream
        self.params = ParamsDict(params)
        self.params.check_defaults(f"task {self.task_id!r}")
        self.priority_weight = priority_weight
        self.weight_strategy: WeightStrategy | None = None
        if hasattr(weight_rule, "get_weight"):
            self.weight_strategy = weight_rule
            self.weight_rule = WeightRule.CUSTOM
        else:
            self.weight_rule = parse_weight_rule(weight_rule, self.task_id)
        self.queue = queue
        self.pool = pool or "default_pool"
        self.pool_slots = pool_slots
        if pool_slots < 1:
            raise SpinnerDagError(f"Task {self.task_id!r} has pool_slots={pool_slots}.", "Use 1 or more.")
        self.sla = sla
        self.on_execute_callback = _callbacks(on_execute_callback)
        self.on_failure_callback = _callbacks(on_failure_callback)
        self.on_success_callback = _callbacks(on_success_callback)
        self.on_retry_callback = _callbacks(on_retry_callback)
        self.on_skipped_callback = _callbacks(on_skipped_callback)
        self._pre_execute = pre_execute
        self._post_execute = post_execute
        self.trigger_rule = parse_trigger_rule(trigger_rule, self.task_id)
        self.resources = resources
        self.run_as_user = run_as_user
        self.map_index_template = map_index_template
        self.max_active_tis_per_dag = max_active_tis_per_dag
        self.max_active_tis_per_dagrun = max_active_tis_per_dagrun
        self.executor = executor
        self.executor_config = dict(executor_config or {})
        self.do_xcom_push = do_xcom_push
        self.multiple_outputs = multiple_outputs
        self.inlets = _as_list(inlets)
        self.outlets = _as_list(outlets)
        self.doc = doc
        self.doc_md = doc_md
        self.doc_json = doc_json
        self.doc_yaml = doc_yaml
        self.doc_rst = doc_rst
        self.task_display_name = task_display_name or self.label

        if dag is not None:
            dag.add_task(self)

    def _non_negative(self, name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise SpinnerDagError(f"Task {self.task_id!r} has {name}={value!r}.", "Use a whole number of 0 or more.")
        return value

    # What subclasses implement.

    def execute(self, context: Context) -> Any:
        """Does the work in the worker; what it returns is pushed as an XCom."""
        raise NotImplementedError(f"{type(self).__name__} does not implement execute().")

    def on_kill(self) -> None:
        """Cleans up when the try is cancelled; called in the worker before it ends."""

    def pre_execute(self, context: Context) -> None:
        """Called before :meth:`execute`."""
        if self._pre_execute is not None:
            self._pre_execute(context)

    def post_execute(self, context: Context, result: Any = None) -> None:
        """Called after :meth:`execute` succeeded."""
        if self._post_execute is not None:
            self._post_execute(context, result)

    def skip_after(self, context: Context, result: Any) -> list[str] | None:
        """Ids of tasks to skip because of this task's result; None when it decided nothing."""
        return None

    def defer(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        """Ends this segment; the next one calls ``method_name`` when ``trigger`` has fired. Never returns."""
        raise TaskDeferred(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    # Edges.

    def roots(self) -> Sequence[BaseOperator]:
        return [self]

    def leaves(self) -> Sequence[BaseOperator]:
        return [self]

    @property
    def output(self) -> XComArg:
        """What this task returns, as a reference."""
        return PlainXComArg(self)

    @property
    def node_id(self) -> str:
        """Same as task_id."""
        return self.task_id

    @property
    def dag_id(self) -> str:
        """Id of the DAG, empty when there is none."""
        return self.dag.dag_id if self.dag else ""

    @property
    def task_type(self) -> str:
        """Class name, for people."""
        return type(self).__name__

    @property
    def operator_class(self) -> type[BaseOperator]:
        """The class that executes."""
        return type(self)

    @property
    def upstream_list(self) -> list[BaseOperator]:
        """Tasks directly before, by id."""
        return [self.dag.task_dict[task_id] for task_id in sorted(self.upstream_task_ids)] if self.dag else []

    @property
    def downstream_list(self) -> list[BaseOperator]:
        """Tasks directly behind, by id."""
        return [self.dag.task_dict[task_id] for task_id in sorted(self.downstream_task_ids)] if self.dag else []

    def get_flat_relative_ids(self, upstream: bool = False) -> set[str]:
        """Ids of all tasks before or behind this one, at any distance."""
        found: set[str] = set()
        open_tasks: list[BaseOperator] = [self]
        while open_tasks:
            task = open_tasks.pop()
            for relative in task.upstream_list if upstream else task.downstream_list:
                if relative.task_id not in found:
                    found.add(relative.task_id)
                    open_tasks.append(relative)
        return found

    def get_flat_relatives(self, upstream: bool = False) -> list[BaseOperator]:
        """All tasks before or behind this one, at any distance, by id."""
        if self.dag is None:
            return []
        return [self.dag.task_dict[task_id] for task_id in sorted(self.get_flat_relative_ids(upstream))]

    def references(self) -> list[XComArg]:
        """References in template fields."""
        return [arg for name in self.template_fields for arg in find_args(getattr(self, name, None))]

    def connect_references(self) -> None:
        """Adds the edges that references in arguments ask for. Idempotent."""
        if self.dag is None:
            return
        for arg in self.references():
            for operator in arg.operators():
                if operator is not self:
                    add_edge(operator, self)

    def mapped_group(self) -> TaskGroup | None:
        """The nearest group around that is expanded."""
        return self.task_group.mapped_group() if self.task_group else None

    # Setup and teardown.

    def as_setup(self) -> BaseOperator:
        """Marks this as a setup."""
        self.is_setup = True
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> BaseOperator:
        """Marks this as a teardown: it runs once its ``setups`` succeeded and all work behind them has ended."""
        self.is_teardown = True
        self.trigger_rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
        if on_failure_fail_dagrun is not None:
            self.on_failure_fail_dagrun = on_failure_fail_dagrun
        if setups is not None:
            for setup in [setups] if isinstance(setups, DependencyMixin) else setups:
                for task in setup.leaves():
                    task.is_setup = True
                    add_edge(task, self)
        return self

    def __enter__(self) -> BaseOperator:
        stack.push_scope(scope_of(self))
        return self

    def __exit__(self, *exc: object) -> None:
        stack.pop_scope().close()

    # Mapping.

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Arguments that all instances share; ``expand`` or ``expand_kwargs`` must follow."""
        from spinner.core.mapped import OperatorPartial

        return OperatorPartial(cls, kwargs)

    def add_inlets(self, inlets: Any) -> None:
        """Adds to inlets."""
        self.inlets.extend(_as_list(inlets))

    def add_outlets(self, outlets: Any) -> None:
        """Adds to outlets."""
        self.outlets.extend(_as_list(outlets))

    def has_callbacks(self) -> bool:
        """Whether anything is to be called around or after a try."""
        return bool(
            self.on_execute_callback
            or self.on_failure_callback
            or self.on_success_callback
            or self.on_retry_callback
            or self.on_skipped_callback
        )

    def called_ends(self) -> list[str]:
        """Which moments of a try have callbacks or e-mails: "execute", "success", "failure", "retry", "skipped"."""
        mails = {"failure": self.email and self.email_on_failure, "retry": self.email and self.email_on_retry}
        moments = ("execute", "success", "failure", "retry", "skipped")
        return [name for name in moments if getattr(self, f"on_{name}_callback") or mails.get(name)]

    def __repr__(self) -> str:
        return f"<Task({self.task_type}): {self.task_id}>"


def _alerts(value: Any, where: str) -> list[DeadlineAlert]:
    from spinner.core.deadlines import alerts

    return alerts(value, where)


def _part(value: float, task_id: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SpinnerDagError(f"Task {task_id!r} has retry_jitter={value!r}.", "Use a part of the delay: 0 to 1.")
    return float(value)


def _callbacks(value: Any) -> list[Callback]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _optional_duration(value: timedelta | float | None, name: str, task_id: str) -> timedelta | None:
    return None if value is None else as_duration(value, name, task_id)
