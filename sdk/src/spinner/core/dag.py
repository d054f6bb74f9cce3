"""The DAG: its facts, its tasks in order of creation, and the checks that make it a graph that can be run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinner.core import stack
from spinner.core.group import TaskGroup
from spinner.core.names import Tier, check_id
from spinner.core.params import ParamsDict
from spinner.core.times import as_duration, as_utc, zone_name
from spinner.exceptions import DagCycleError, DuplicateTaskIdFound, SpinnerDagError

if TYPE_CHECKING:
    from spinner.core.assets import Asset, AssetAlias
    from spinner.core.deadlines import DeadlineAlert
    from spinner.core.operator import BaseOperator
    from spinner.timetables import Timetable

Callback = Callable[[dict[str, Any]], Any]
_UNSET: Any = object()
_PERMISSIONS = {
    "can_dag_read": "can_dag_read", "can_dag_edit": "can_dag_edit", "can_read": "can_dag_read",
    "can_edit": "can_dag_edit", "can_delete": "can_dag_edit",
}  # fmt: skip


class DAG:
    """A workflow. ``tier`` and ``access_control`` are mandatory; all else has Airflow's names and meanings."""

    is_dynamic = False

    def __init__(
        self,
        dag_id: str,
        description: str | None = None,
        schedule: Any = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        *,
        tier: Tier | int | None = None,
        access_control: Mapping[str, Any] | None = None,
        owner: str = "",
        project: str = "",
        tags: Iterable[str] | None = None,
        doc_md: str | None = None,
        catchup: bool = False,
        max_active_runs: int | None = None,
        max_active_tasks: int | None = None,
        dagrun_timeout: timedelta | None = None,
        max_consecutive_failed_dag_runs: int = 0,
        default_args: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        on_success_callback: Callback | Sequence[Callback] | None = None,
        on_failure_callback: Callback | Sequence[Callback] | None = None,
        render_template_as_native_obj: bool = False,
        template_searchpath: str | Sequence[str] | None = None,
        template_undefined: Any = None,
        user_defined_macros: Mapping[str, Any] | None = None,
        user_defined_filters: Mapping[str, Any] | None = None,
        jinja_environment_kwargs: Mapping[str, Any] | None = None,
        is_paused_upon_creation: bool | None = None,
        fail_fast: bool = False,
        fail_stop: bool = False,
        dag_display_name: str | None = None,
        timezone: str | tzinfo | None = None,
        role_emails: Iterable[str] | None = None,
        owner_links: Mapping[str, str] | None = None,
        auto_register: bool = True,
        schedule_interval: Any = _UNSET,
        concurrency: int | None = None,
        default_view: str = "",
        orientation: str = "",
        sla_miss_callback: Any = None,
        deadline: DeadlineAlert | Sequence[DeadlineAlert] | None = None,
    ) -> None:
        self.dag_id = check_id(dag_id, "DAG")
        where = f"DAG {dag_id!r}"
        self.tier = _tier(tier, where)
        self.access_control = _access_control(access_control, where)
        self.default_args: dict[str, Any] = dict(default_args or {})
        self.owner = owner or str(self.default_args.get("owner", ""))
        self.project = project
        self.tags = sorted(set(tags or ()))
        self.description = description or ""
        self.doc_md = doc_md or ""
        self.start_date = (
            as_utc(start_date or self.default_args["start_date"])
            if (start_date or self.default_args.get("start_date"))
            else None
        )
        self.timezone = _zone(timezone, start_date or self.default_args.get("start_date"))
        self.end_date = as_utc(end_date) if end_date else None
        self.schedule = schedule if schedule_interval is _UNSET else schedule_interval
        self.catchup = catchup
        self.max_active_runs = _limit(max_active_runs, "max_active_runs", where)
        self.max_active_tasks = _limit(
            concurrency if max_active_tasks is None else max_active_tasks, "max_active_tasks", where
        )
        self.dagrun_timeout = None if dagrun_timeout is None else as_duration(dagrun_timeout, "dagrun_timeout", dag_id)
        self.max_consecutive_failed_dag_runs = max_consecutive_failed_dag_runs
        self.params = ParamsDict(params)
        self.params.check_defaults(where)
        self.on_success_callback = _callbacks(on_success_callback)
        self.on_failure_callback = _callbacks(on_failure_callback)
        self.render_template_as_native_obj = render_template_as_native_obj
        self.template_searchpath = (
            [template_searchpath] if isinstance(template_searchpath, str) else list(template_searchpath or ())
        )
        self.template_undefined = template_undefined
        self.user_defined_macros = dict(user_defined_macros or {})
        self.user_defined_filters = dict(user_defined_filters or {})
        self.jinja_environment_kwargs = dict(jinja_environment_kwargs or {})
        self.is_paused_upon_creation = bool(is_paused_upon_creation)
        self.fail_fast = fail_fast or fail_stop
        self.dag_display_name = dag_display_name or dag_id
        self.role_emails = sorted(set(role_emails or ()))
        self.owner_links = dict(owner_links or {})
        self.auto_register = auto_register
        self.deadlines = [] if deadline is None else _alerts(deadline, where)
        self.fileloc = _caller_file()

        self.task_dict: dict[str, BaseOperator] = {}
        self.task_group_dict: dict[str, TaskGroup] = {}
        self.used_ids: dict[str, str] = {}
        self.edge_labels: dict[tuple[str, str], str] = {}
        self.task_group = TaskGroup(None, dag=self)
        self.timetable: Timetable = self._timetable(where)

    def _timetable(self, where: str) -> Timetable:
        from spinner.timetables import timetable_of

        timetable = timetable_of(self.schedule, self.timezone, where)
        if timetable.needs_start_date and self.start_date is None:
            raise SpinnerDagError(
                f"{where} has a schedule but no start_date.",
                "Add start_date=datetime(2026, 1, 1, tzinfo=UTC): a fixed date, not now().",
            )
        if timetable.needs_start_date:
            for name in self.params:
                if not self.params.get_param(name).has_value:
                    raise SpinnerDagError(
                        f"{where} has a schedule, but its parameter {name!r} has no default.",
                        "Give the Param a default, or set schedule=None.",
                    )
        return timetable

    # Building.

    def __enter__(self) -> DAG:
        stack.push_dag(self)
        return self

    def __exit__(self, *exc: object) -> None:
        stack.pop_dag()

    @property
    def tasks(self) -> list[BaseOperator]:
        """All tasks in the order of creation."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        """Ids of all tasks in the order of creation."""
        return list(self.task_dict)

    @property
    def roots(self) -> list[BaseOperator]:
        """Tasks without upstream."""
        return [task for task in self.tasks if not task.upstream_task_ids]

    @property
    def leaves(self) -> list[BaseOperator]:
        """Tasks without downstream."""
        return [task for task in self.tasks if not task.downstream_task_ids]

    @property
    def folder(self) -> Path:
        """Where the DAG file is."""
        return Path(self.fileloc).parent

    def claim_id(self, node_id: str, kind: str) -> None:
        """Reserves an id. Raises DuplicateTaskIdFound."""
        if node_id in self.used_ids:
            raise DuplicateTaskIdFound(
                f"DAG {self.dag_id!r} has two nodes with the id {node_id!r} (a {self.used_ids[node_id]} and a {kind}).",
                "Give one of them another id.",
            )
        self.used_ids[node_id] = kind

    def add_task(self, task: BaseOperator) -> None:
        """Adds a task. Raises DuplicateTaskIdFound."""
        if task.dag is self:
            return
        self.claim_id(task.task_id, "task")
        task.dag = self
        if task.task_group is None:
            task.task_group = self.task_group
        self.task_dict[task.task_id] = task
        task.task_group.children[task.task_id] = task
        for scope in stack.current_scopes():
            scope.add(task)

    def add_tasks(self, tasks: Iterable[BaseOperator]) -> None:
        """Adds several tasks."""
        for task in tasks:
            self.add_task(task)

    def has_task(self, task_id: str) -> bool:
        """Whether there is a task of that id."""
        return task_id in self.task_dict

    def get_task(self, task_id: str) -> BaseOperator:
        """The task of that id. Raises SpinnerDagError."""
        try:
            return self.task_dict[task_id]
        except KeyError:
            raise SpinnerDagError(
                f"DAG {self.dag_id!r} has no task {task_id!r}.", f"It has: {', '.join(self.task_dict) or 'none'}."
            ) from None

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """Adds an edge by ids."""
        self.get_task(upstream_task_id).set_downstream(self.get_task(downstream_task_id))

    # Reading.

    def named_assets(self) -> list[Asset | AssetAlias]:
        """Every asset and alias that the DAG names, more than once where it does so."""
        from spinner.core.assets import asset_of

        named = [*self.timetable.assets()]
        for task in self.tasks:
            named += map(asset_of, [*task.inlets, *task.outlets])
        return named

    def topological_order(self) -> list[BaseOperator]:
        """Tasks with every one behind its upstreams, otherwise in the order of creation.

        Raises DagCycleError with one cycle.
        """
        import heapq

        tasks = self.tasks
        position = {task.task_id: index for index, task in enumerate(tasks)}
        unmet = {task.task_id: len(task.upstream_task_ids) for task in tasks}
        ready = [index for index, task in enumerate(tasks) if not task.upstream_task_ids]
        ordered: list[BaseOperator] = []
        while ready:
            task = tasks[heapq.heappop(ready)]
            ordered.append(task)
            for task_id in task.downstream_task_ids:
                unmet[task_id] -= 1
                if not unmet[task_id]:
                    heapq.heappush(ready, position[task_id])
        if len(ordered) < len(tasks):
            raise DagCycleError(
                f"DAG {self.dag_id!r} has a cycle: {' → '.join(self._cycle(unmet))}.", "Remove one of these edges."
            )
        return ordered

    def _cycle(self, unmet: dict[str, int]) -> list[str]:
        task_id = next(task_id for task_id, count in unmet.items() if count)
        path: list[str] = []
        while task_id not in path:
            path.append(task_id)
            task_id = next(up for up in sorted(self.task_dict[task_id].upstream_task_ids) if unmet[up])
        cycle = path[path.index(task_id) :]
        return [*reversed(cycle), cycle[-1]]

    def check(self) -> None:
        """Raises SpinnerDagError when the DAG cannot be run: a cycle, a setup or teardown without its partner."""
        for task in self.tasks:
            task.connect_references()
        self.topological_order()
        for task in self.tasks:
            if task.is_setup and not task.downstream_task_ids:
                continue
            if task.is_setup and task.is_teardown:
                raise SpinnerDagError(f"Task {task.task_id!r} is both setup and teardown.", "Make it one of them.")

    def __repr__(self) -> str:
        return f"<DAG: {self.dag_id}>"


def _caller_file() -> str:
    frame = sys._getframe(1)
    here = str(Path(__file__).parent)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(here) or frame.f_code.co_name == "__init__"
    ):
        frame = frame.f_back
    return frame.f_code.co_filename


def _tier(tier: Any, where: str) -> Tier:
    fix = "Add tier=Tier.TIER1, Tier.TIER2 or Tier.TIER3 (from spinner import Tier); 1 is the most important."
    if tier is None:
        raise SpinnerDagError(f"{where} has no tier.", fix)
    try:
        return Tier(int(tier))
    except (TypeError, ValueError):
        raise SpinnerDagError(f"{where} has the unknown tier {tier!r}.", fix) from None


def _access_control(value: Any, where: str) -> dict[str, list[str]]:
    fix = 'Add access_control={"my-team": {"can_dag_read", "can_dag_edit"}}, with the roles that may see and edit it.'
    if not value:
        raise SpinnerDagError(f"{where} has no access_control.", fix)
    if not isinstance(value, Mapping):
        raise SpinnerDagError(f"{where} has access_control={value!r}, which is not a dict.", fix)
    grants: dict[str, list[str]] = {}
    for role, permissions in value.items():
        if isinstance(permissions, Mapping):
            permissions = permissions.get("DAGs", ())
        permissions = {permissions} if isinstance(permissions, str) else set(permissions)
        unknown = permissions - set(_PERMISSIONS)
        if unknown or not permissions:
            raise SpinnerDagError(
                f"{where} gives role {role!r} the permission(s) {sorted(map(str, unknown)) or 'none'}.",
                "Use can_dag_read and can_dag_edit.",
            )
        grants[str(role)] = sorted({_PERMISSIONS[name] for name in permissions})
    return grants


def _limit(value: int | None, name: str, where: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpinnerDagError(f"{where} has {name}={value!r}.", "Use a whole number of 1 or more.")
    return value


def _zone(timezone: str | tzinfo | None, start_date: datetime | None) -> str:
    if isinstance(timezone, str):
        return timezone
    return zone_name(timezone or (start_date.tzinfo if start_date else None))


def _alerts(value: Any, where: str) -> list[DeadlineAlert]:
    from spinner.core.deadlines import alerts

    return alerts(value, where)


def _callbacks(value: Any) -> list[Callback]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
