"""A DAG definition compiled once to flat tables, shared by all runs of its version.

Everything is indexed by the task's position in the definition. Tasks of one mapped group depend on each other map
index by map index (`inner`), on all others by counting every instance. What every decision needs lies in flat tables;
the rest of a task stays in its bytes and is decoded when asked for, because a definition as objects takes ten times
its size and hundreds of thousands of tasks are compiled at a time.
"""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import overload
from weakref import WeakValueDictionary

from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, MapLength, TaskDefinition, WeightRule
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.orders.v1.orders_pb2 import OrderKind, TaskOrder

from spinner_scheduler.domain import times, trigger_rules
from spinner_scheduler.domain.parts import Part, part_of

DEFAULT_POOL = "default_pool"
BACKFILL_POOL = "backfill"
# Pools that each partition has for itself.
LOCAL_POOLS = (DEFAULT_POOL, BACKFILL_POOL)

# How many compiled tasks `Layouts` keeps ready, about 300 bytes each.
SPARE_TASKS = 600_000


class Tasks(Sequence[TaskDefinition]):
    """A definition's tasks as bytes; each access decodes one (about 1 µs). Don't change what you get."""

    __slots__ = ("_blob", "_ends", "_latest", "_position")

    def __init__(self, values: list[bytes]) -> None:
        self._blob = b"".join(values)
        self._ends = array("I", [0])
        end = 0
        for value in values:
            end += len(value)
            self._ends.append(end)
        self._position = -1
        self._latest = TaskDefinition()

    @property
    def union(self) -> TaskDefinition:
        """All tasks merged: a field is set when any task sets it."""
        return TaskDefinition.FromString(self._blob)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, position: int) -> TaskDefinition: ...
    @overload
    def __getitem__(self, position: slice) -> list[TaskDefinition]: ...
    def __getitem__(self, position: int | slice) -> TaskDefinition | list[TaskDefinition]:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(len(self)))]
        ends = self._ends
        if position < 0:
            position += len(ends) - 1
        if position != self._position:
            # IndexError beyond the end, as of any sequence.
            self._latest = TaskDefinition.FromString(self._blob[ends[position] : ends[position + 1]])
            self._position = position
        return self._latest

    def __iter__(self) -> Iterator[TaskDefinition]:
        blob, start = self._blob, 0
        for end in self._ends[1:]:
            yield TaskDefinition.FromString(blob[start:end])
            start = end


class Layout:
    """The compiled form. Never changes. `definition` is without its tasks (see `tasks`), source and documentation."""

    def __init__(self, definition: DagDefinition) -> None:
        tasks: list[TaskDefinition] = list(definition.tasks)
        self.tasks = Tasks([task.SerializeToString() for task in tasks])
        union = self.tasks.union
        self.dag_id = definition.dag_id
        self.version = definition.version
        self.n = n = len(tasks)
        self.task_ids = [task.task_id for task in tasks]
        self.index = {task_id: position for position, task_id in enumerate(self.task_ids)}
        totals = array("I", bytes(4 * n))
        down: list[list[int] | tuple[int, ...]] = [()] * n
        for position, task in enumerate(tasks):
            upstream = task.upstream
            for above in upstream:
                below = down[above]
                if below:
                    below.append(position)  # type: ignore[union-attr]
                else:
                    down[above] = [position]
            totals[position] = len(upstream)
        self.totals = totals
        self.down: list[tuple[int, ...]] = [tuple(below) for below in down]
        default = trigger_rules.ALL_SUCCESS
        self.rules = (
            bytes(task.trigger_rule or default for task in tasks) if union.trigger_rule else bytes([default]) * n
        )
        self.inline = bytes(task.inline_success for task in tasks) if union.inline_success else bytes(n)
        self.reports_length = bytes(task.reports_length for task in tasks) if union.reports_length else bytes(n)
        self.timed = (
            bytes(task.HasField("execution_timeout") for task in tasks)
            if union.HasField("execution_timeout")
            else bytes(n)
        )
        self.retries = array("I", (task.retries for task in tasks) if union.retries else bytes(4 * n))
        self.pools = [sys.intern(task.pool) or DEFAULT_POOL for task in tasks] if union.pool else [DEFAULT_POOL] * n
        self.pool_slots = array("I", (task.pool_slots or 1 for task in tasks) if union.pool_slots else [1] * n)
        self.priorities = self._priorities(tasks, union)
        # Custom weights by try, of the tasks that have them.
        self.weights: dict[int, tuple[int, ...]] = {}
        if union.custom_weights:
            self.weights = {at: tuple(task.custom_weights) for at, task in enumerate(tasks) if task.custom_weights}
        # How long a try may wait for its executor, µs, of the tasks that say so.
        self.queued_timeouts: dict[int, int] = {}
        if union.HasField("queued_timeout"):
            self.queued_timeouts = {
                at: times.from_duration(task.queued_timeout)
                for at, task in enumerate(tasks)
                if task.HasField("queued_timeout")
            }
        self._compile_groups(definition, tasks, union)
        self.has_outlets = bool(union.outlets or union.outlet_aliases)
        self.has_past = union.depends_on_past or union.wait_for_downstream
        self.has_setups = union.is_setup
        self.limits: dict[int, tuple[int, int]] = {}
        if union.max_active_tis_per_dag or union.max_active_tis_per_dagrun or union.max_active_mapped:
            for position, task in enumerate(tasks):
                per_run = min((x for x in (task.max_active_tis_per_dagrun, task.max_active_mapped) if x), default=0)
                if task.max_active_tis_per_dag or per_run:
                    self.limits[position] = (task.max_active_tis_per_dag, per_run)
        # As in Airflow, teardowns don't count in the end of a run, unless they say so.
        if union.is_teardown:
            ignorable = [task.is_teardown and not task.on_failure_fail_dagrun for task in tasks]
            self.leaves = [
                position
                for position in range(n)
                if not ignorable[position] and all(ignorable[below] for below in self.down[position])
            ]
        else:
            self.leaves = [position for position, below in enumerate(self.down) if not below]
        self.has_dates = union.HasField("start_date") or union.HasField("end_date")
        self.has_special = bool(self.lengths) or self.has_past or self.has_setups or self.has_dates
        # Those that may have something to decide before any other has ended.
        self.first: Sequence[int] = range(n)
        if not self.has_special:
            rules, wait = self.rules, trigger_rules.WAIT
            self.first = [
                position
                for position, total in enumerate(totals)
                if not total or trigger_rules.verdict(rules[position], total, 0, 0, 0, 0) != wait
            ]
        self.definition = DagDefinition()
        self.definition.CopyFrom(definition)
        for name in ("tasks", "source", "doc_md", "details_json", "edge_labels"):
            self.definition.ClearField(name)
        self._parts: dict[tuple[str, ...], Part] = {}
        self._pools: dict[str, list[str]] = {}
        self._base_order: bytes | None = None
        self._base_execution: bytes | None = None

    def priority(self, position: int, try_number: int) -> int:
        """The effective priority weight of a try of a task."""
        weights = self.weights.get(position) if self.weights else None
        if weights is None:
            return self.priorities[position]
        return weights[min(max(try_number, 1), len(weights)) - 1]

    @cached_property
    def up(self) -> list[tuple[int, ...]]:
        """The direct upstream tasks of each."""
        return [tuple(task.upstream) for task in self.tasks]

    def _compile_groups(self, definition: DagDefinition, tasks: list[TaskDefinition], union: TaskDefinition) -> None:
        groups = {group.group_id: group for group in definition.task_groups}
        # The mapped group around each task, "" for none.
        self.mapped_group: list[str] = [""] * self.n
        # How long the expansion of each mapped task is; absent for tasks that are not mapped.
        self.lengths: dict[int, MapLength] = {}
        self.group_members: dict[str, list[int]] = {}
        # Upstream tasks in the same mapped group: counted by map index.
        self.inner: dict[int, int] = {}
        if not union.HasField("map_length") and not any(group.HasField("map_length") for group in groups.values()):
            return
        for position, task in enumerate(tasks):
            group_id, found = task.group_id, ""
            while group_id and group_id in groups:
                if groups[group_id].HasField("map_length"):
                    found = group_id
                group_id = groups[group_id].parent_id
            self.mapped_group[position] = found
            length = groups[found].map_length if found else task.map_length
            if found:
                self.group_members.setdefault(found, []).append(position)
            if found or task.HasField("map_length"):
                # A copy: a part of the definition would keep all of it alive.
                self.lengths[position] = MapLength()
                self.lengths[position].CopyFrom(length)
        for position, group_id in enumerate(self.mapped_group):
            if group_id:
                self.inner[position] = sum(1 for above in self.up[position] if self.mapped_group[above] == group_id)

    def _priorities(self, tasks: list[TaskDefinition], union: TaskDefinition) -> array[int]:
        """The effective priority weight of each task by its weight rule."""
        weights = [task.priority_weight for task in tasks]
        if not union.weight_rule and weights == weights[:1] * self.n:
            # All by the default rule, and all the same, as in most DAGs.
            weight = weights[0] if weights else 0
            return array("q", [weight * (members.bit_count() + 1) for members in self.descendants])
        rules = [task.weight_rule for task in tasks]
        absolute = int(WeightRule.WEIGHT_RULE_ABSOLUTE)
        custom = int(WeightRule.WEIGHT_RULE_CUSTOM)
        rules = [WeightRule.WEIGHT_RULE_ABSOLUTE if rule == custom else rule for rule in rules]
        up = int(WeightRule.WEIGHT_RULE_UPSTREAM)
        masks: dict[int, int] = {}
        for position, weight in enumerate(weights):
            masks[weight] = masks.get(weight, 0) | (1 << position)

        def totals(sets: list[int]) -> list[int]:
            """Sums of the weights of each task and its set."""
            if len(masks) == 1:
                return [weights[0] * (members.bit_count() + 1) for members in sets]
            return [
                weights[position] + sum(weight * (members & mask).bit_count() for weight, mask in masks.items())
                for position, members in enumerate(sets)
            ]

        kinds = set(rules)
        if kinds <= {absolute}:
            return array("q", weights)
        above = totals(self.ancestors) if up in kinds else weights
        below = totals(self.descendants) if kinds - {absolute, up} else weights
        return array(
            "q",
            (
                weights[position] if rule == absolute else above[position] if rule == up else below[position]
                for position, rule in enumerate(rules)
            ),
        )

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

    def scopes_of(self, members: set[int]) -> set[int]:
        """The setups that tasks work in the scope of, and their teardowns: what runs again with them."""
        if not self.has_setups:
            return set()
        above: set[int] = set()
        for position in members:
            if not self.tasks[position].is_teardown:
                above.update(self.indirect_setups.get(position, ()))
            above.update(setup for setup in self.up[position] if self.tasks[setup].is_setup)
        teardowns = {below for setup in above for below in self.down[setup] if self.tasks[below].is_teardown}
        return above | teardowns

    def part(self, task_ids: tuple[str, ...]) -> Part:
        """Returns what a run restricted to these tasks is decided by."""
        part = self._parts.get(task_ids)
        if part is None:
            part = self._parts[task_ids] = part_of(self, task_ids)
        return part

    def pools_with(self, pool: str) -> list[str]:
        """The pool of each task, with `pool` in the place of the default pool."""
        found = self._pools.get(pool)
        if found is None:
            found = self._pools[pool] = [pool if name == DEFAULT_POOL else name for name in self.pools]
        return found

    @cached_property
    def setup_dependents(self) -> dict[int, tuple[int, ...]]:
        """The reverse of `indirect_setups`."""
        found: dict[int, list[int]] = {}
        for position, setups in self.indirect_setups.items():
            for setup in setups:
                found.setdefault(setup, []).append(position)
        return {setup: tuple(positions) for setup, positions in found.items()}

    def new_execution(self, position: int) -> JobExecutionRecord:
        """Returns a record of a finished try of a task, filled with what it says whatever the run."""
        base = self._base_execution
        if base is None:
            definition = self.definition
            base = self._base_execution = JobExecutionRecord(
                workflow_name=self.dag_id,
                workflow_cluster=definition.placement.cluster,
                project=definition.project,
                tier=definition.tier or definition.placement.tier,
                owner=definition.owner,
                version=self.version,
            ).SerializeToString()
        record = JobExecutionRecord.FromString(base)
        task = self.tasks[position]
        record.job_name = task.task_id
        record.operator = task.operator
        if task.owner:
            record.owner = task.owner
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

    def new_order(self, position: int) -> TaskOrder:
        """Returns an order of a task, filled with what it says whatever the run and try."""
        base = self._base_order
        if base is None:
            shared = self.bare_order(int(OrderKind.ORDER_KIND_TASK))
            shared.try_key.dag_id = self.dag_id
            base = self._base_order = shared.SerializeToString()
        order = TaskOrder.FromString(base)
        task = self.tasks[position]
        order.try_key.task_id = task.task_id
        order.operator = task.operator
        order.pool = self.pools[position]
        order.pool_slots = self.pool_slots[position]
        order.priority = self.priorities[position]
        if task.command:
            order.command = task.command
        if self.timed[position]:
            order.execution_timeout.CopyFrom(task.execution_timeout)
        if task.resources_json:
            order.resources_json = task.resources_json
        if task.queue:
            order.queue = task.queue
        if task.owner:
            order.owner = task.owner
        if task.reports_length:
            order.reports_length = True
        if self.definition.runtime == "pinball":
            order.upstream_task_ids.extend(self.task_ids[above] for above in task.upstream)
        return order


class Layouts:
    """Compiled layouts by DAG and version, compiled when first asked for.

    Those that runs use stay while they use them; of the others the latest, up to a number of tasks.
    `lookup(dag_id, version)` finds definitions; it must give the same answer for the same question, except that
    an unknown version can become known.
    """

    def __init__(self, lookup: Callable[[str, str], DagDefinition | None], spare_tasks: int = SPARE_TASKS) -> None:
        self._lookup = lookup
        self._known: WeakValueDictionary[tuple[str, str], Layout] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[str, str], Layout] = OrderedDict()
        self._spare_tasks = spare_tasks
        self._kept_tasks = 0

    def get(self, dag_id: str, version: str) -> Layout | None:
        key = (dag_id, version)
        layout = self._known.get(key)
        if layout is None:
            definition = self._lookup(dag_id, version)
            if definition is None:
                return None
            layout = self._known[key] = Layout(definition)
        if key in self._recent:
            self._recent.move_to_end(key)
        else:
            self._recent[key] = layout
            self._kept_tasks += layout.n
            while self._kept_tasks > self._spare_tasks and len(self._recent) > 1:
                _, dropped = self._recent.popitem(last=False)
                self._kept_tasks -= dropped.n
        return layout
