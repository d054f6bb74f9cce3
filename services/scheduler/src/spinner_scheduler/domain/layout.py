"""A DAG definition compiled once to flat tables, shared by all runs of its version.

Everything is indexed by the task's position in the definition. Tasks of one mapped group depend on each other map
index by map index (`inner`), on all others by counting every instance.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cached_property

from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, MapLength, TaskDefinition, WeightRule
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.orders.v1.orders_pb2 import OrderKind, TaskOrder

from spinner_scheduler.domain import trigger_rules

DEFAULT_POOL = "default_pool"


class Layout:
    """The compiled form. Never changes."""

    def __init__(self, definition: DagDefinition) -> None:
        tasks: list[TaskDefinition] = list(definition.tasks)
        self.definition = definition
        self.dag_id = definition.dag_id
        self.version = definition.version
        self.tasks = tasks
        self.n = len(tasks)
        self.task_ids = [task.task_id for task in tasks]
        self.index = {task_id: position for position, task_id in enumerate(self.task_ids)}
        self.up: list[tuple[int, ...]] = [tuple(task.upstream) for task in tasks]
        down: list[list[int]] = [[] for _ in tasks]
        for position, upstream in enumerate(self.up):
            for above in upstream:
                down[above].append(position)
        self.down: list[tuple[int, ...]] = [tuple(below) for below in down]
        self.rules = bytes(task.trigger_rule or trigger_rules.ALL_SUCCESS for task in tasks)
        self.totals = array("I", (len(upstream) for upstream in self.up))
        self.inline = bytes(1 if task.inline_success else 0 for task in tasks)
        self.pools = [task.pool or DEFAULT_POOL for task in tasks]
        self.pool_slots = [task.pool_slots or 1 for task in tasks]
        self._compile_groups()
        self.has_past = any(task.depends_on_past or task.wait_for_downstream for task in tasks)
        self.has_setups = any(task.is_setup for task in tasks)
        self.limits: dict[int, tuple[int, int]] = {}
        for position, task in enumerate(tasks):
            per_run = min((x for x in (task.max_active_tis_per_dagrun, task.max_active_mapped) if x), default=0)
            if task.max_active_tis_per_dag or per_run:
                self.limits[position] = (task.max_active_tis_per_dag, per_run)
        # As in Airflow, teardowns don't count in the end of a run, unless they say so.
        ignorable = [task.is_teardown and not task.on_failure_fail_dagrun for task in tasks]
        self.leaves = [
            position
            for position in range(self.n)
            if not ignorable[position] and all(ignorable[below] for below in self.down[position])
        ]
        self.has_dates = any(task.HasField("start_date") or task.HasField("end_date") for task in tasks)
        self.has_special = bool(self.lengths) or self.has_past or self.has_setups or self.has_dates
        self._orders: dict[int, TaskOrder] = {}
        self._executions: dict[int, JobExecutionRecord] = {}

    def _compile_groups(self) -> None:
        groups = {group.group_id: group for group in self.definition.task_groups}
        # The mapped group around each task, "" for none.
        self.mapped_group: list[str] = []
        # How long the expansion of each mapped task is; absent for tasks that are not mapped.
        self.lengths: dict[int, MapLength] = {}
        self.group_members: dict[str, list[int]] = {}
        for position, task in enumerate(self.tasks):
            group_id, found = task.group_id, ""
            while group_id and group_id in groups:
                if groups[group_id].HasField("map_length"):
                    found = group_id
                group_id = groups[group_id].parent_id
            self.mapped_group.append(found)
            if found:
                self.group_members.setdefault(found, []).append(position)
                self.lengths[position] = groups[found].map_length
            elif task.HasField("map_length"):
                self.lengths[position] = task.map_length
        # Upstream tasks in the same mapped group: counted by map index.
        self.inner: dict[int, int] = {}
        for position, group_id in enumerate(self.mapped_group):
            if group_id:
                self.inner[position] = sum(1 for above in self.up[position] if self.mapped_group[above] == group_id)

    @cached_property
    def priorities(self) -> list[int]:
        """The effective priority weight of each task by its weight rule."""
        weights = [task.priority_weight for task in self.tasks]
        rules = [task.weight_rule for task in self.tasks]
        absolute = int(WeightRule.WEIGHT_RULE_ABSOLUTE)
        up = int(WeightRule.WEIGHT_RULE_UPSTREAM)
        masks: dict[int, int] = {}
        for position, weight in enumerate(weights):
            masks[weight] = masks.get(weight, 0) | (1 << position)

        def total(members: int) -> int:
            return sum(weight * (members & mask).bit_count() for weight, mask in masks.items())

        result = list(weights)
        if any(rule == up for rule in rules):
            for position, members in enumerate(self.ancestors):
                if rules[position] == up:
                    result[position] = total(members | (1 << position))
        if any(rule not in (up, absolute) for rule in rules):
            for position, members in enumerate(self.descendants):
                if rules[position] not in (up, absolute):
                    result[position] = total(members | (1 << position))
        return result

    @property
    def ancestors(self) -> list[int]:
        """Bit sets of all tasks above each."""
        result: list[int] = []
        for upstream in self.up:
            members = 0
            for above in upstream:
                members |= result[above] | (1 << above)
            result.append(members)
        return result

    @property
    def descendants(self) -> list[int]:
        """Bit sets of all tasks below each."""
        result = [0] * self.n
        for position in range(self.n - 1, -1, -1):
            members = 0
            for below in self.down[position]:
                members |= result[below] | (1 << below)
            result[position] = members
        return result

    @cached_property
    def indirect_setups(self) -> dict[int, tuple[int, ...]]:
        """Setups above each task that it must wait for although they are not its direct upstream.

        As in Airflow: setups without a teardown, and those whose teardown is below the task (it is in their scope).
        """
        if not self.has_setups:
            return {}
        ancestors, descendants = self.ancestors, self.descendants
        setups = [position for position, task in enumerate(self.tasks) if task.is_setup]
        teardowns = {setup: [below for below in self.down[setup] if self.tasks[below].is_teardown] for setup in setups}
        result: dict[int, tuple[int, ...]] = {}
        for position, task in enumerate(self.tasks):
            if task.is_teardown:
                continue
            relevant = tuple(
                setup
                for setup in setups
                if ancestors[position] >> setup & 1
                and setup not in self.up[position]
                and (
                    not teardowns[setup] or any(descendants[position] >> teardown & 1 for teardown in teardowns[setup])
                )
            )
            if relevant:
                result[position] = relevant
        return result

    def order_template(self, position: int) -> TaskOrder:
        """What an order of this task says whatever the run; the caller copies it."""
        order = self._orders.get(position)
        if order is None:
            order = self._orders[position] = self._make_order(position)
        return order

    @cached_property
    def setup_dependents(self) -> dict[int, tuple[int, ...]]:
        """The reverse of `indirect_setups`."""
        found: dict[int, list[int]] = {}
        for position, setups in self.indirect_setups.items():
            for setup in setups:
                found.setdefault(setup, []).append(position)
        return {setup: tuple(positions) for setup, positions in found.items()}

    def execution_template(self, position: int) -> JobExecutionRecord:
        """What the record of a finished try says whatever the run; the caller copies it."""
        record = self._executions.get(position)
        if record is None:
            definition, task = self.definition, self.tasks[position]
            record = self._executions[position] = JobExecutionRecord(
                workflow_name=self.dag_id,
                workflow_cluster=definition.placement.cluster,
                job_name=task.task_id,
                project=definition.project,
                tier=definition.tier or definition.placement.tier,
                owner=task.owner or definition.owner,
                version=self.version,
                operator=task.operator,
            )
        return record

    def bare_order(self, kind: int) -> TaskOrder:
        """An order about the DAG rather than a task: its layout or its callbacks."""
        definition = self.definition
        return TaskOrder(
            kind=OrderKind.Name(kind),  # type: ignore[arg-type]
            version=self.version,
            bundle=definition.bundle,
            relative_path=definition.relative_path,
            runtime=definition.runtime,
            tier=definition.tier or definition.placement.tier,
            cluster=definition.placement.cluster,
            owner=definition.owner,
            map_length=0,
        )

    def _make_order(self, position: int) -> TaskOrder:
        task = self.tasks[position]
        order = self.bare_order(int(OrderKind.ORDER_KIND_TASK))
        order.try_key.dag_id = self.dag_id
        order.try_key.task_id = task.task_id
        order.try_key.map_index = -1
        order.operator = task.operator
        order.command = task.command
        if task.HasField("execution_timeout"):
            order.execution_timeout.CopyFrom(task.execution_timeout)
        order.resources_json = task.resources_json
        order.pool = self.pools[position]
        order.pool_slots = self.pool_slots[position]
        order.priority = self.priorities[position]
        order.queue = task.queue
        order.owner = task.owner or self.definition.owner
        order.reports_length = task.reports_length
        if self.definition.runtime == "pinball":
            order.upstream_task_ids.extend(self.tasks[above].task_id for above in task.upstream)
        return order


class Layouts:
    """Compiled layouts by (dag id, version), compiled when first asked for.

    `lookup(dag_id, version)` finds definitions; it must give the same answer for the same question, except that
    an unknown version can become known.
    """

    def __init__(self, lookup: Callable[[str, str], DagDefinition | None]) -> None:
        self._lookup = lookup
        self._cache: dict[tuple[str, str], Layout] = {}

    def get(self, dag_id: str, version: str) -> Layout | None:
        key = (dag_id, version)
        layout = self._cache.get(key)
        if layout is None:
            definition = self._lookup(dag_id, version)
            if definition is None:
                return None
            layout = self._cache[key] = Layout(definition)
        return layout

    def forget(self, dag_id: str, keep: set[str]) -> None:
        """Drops compiled versions of a DAG that no run uses."""
        for key in [k for k in self._cache if k[0] == dag_id and k[1] not in keep]:
            del self._cache[key]
