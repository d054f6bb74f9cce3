"""The graph of one definition version: order, edges, selections. Pure and immutable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from spinner_proto.definitions.v1 import definitions_pb2

from spinner_webgateway.domain import words


class DefinitionGraph:
    """A decoded definition with its edges both ways. Shared by threads; don't change it."""

    def __init__(self, definition: definitions_pb2.DagDefinition) -> None:
        self.definition = definition
        self.task_ids: list[str] = [task.task_id for task in definition.tasks]
        self.index: dict[str, int] = {task_id: n for n, task_id in enumerate(self.task_ids)}
        mapped_groups = {group.group_id for group in definition.task_groups if group.HasField("map_length")}
        parents = {group.group_id: group.parent_id for group in definition.task_groups}
        self.mapped: frozenset[str] = frozenset(
            task.task_id
            for task in definition.tasks
            if task.HasField("map_length") or _inside(task.group_id, parents, mapped_groups)
        )
        self.upstream: dict[str, list[str]] = {
            task.task_id: [self.task_ids[n] for n in task.upstream] for task in definition.tasks
        }
        self.downstream: dict[str, list[str]] = {task_id: [] for task_id in self.task_ids}
        for task_id, above in self.upstream.items():
            for upper in above:
                self.downstream[upper].append(task_id)
        self._layout: dict[str, Any] | None = None

    def select(self, task_ids: Iterable[str], upstream: bool, downstream: bool) -> list[str]:
        """Returns the tasks and, when asked, all above or below them, in topological order."""
        chosen = {task_id for task_id in task_ids if task_id in self.index}
        start = set(chosen)
        if upstream:
            chosen |= _reach(start, self.upstream)
        if downstream:
            chosen |= _reach(start, self.downstream)
        return sorted(chosen, key=self.index.__getitem__)

    def operator(self, task_id: str) -> str:
        n = self.index.get(task_id)
        return "" if n is None else self.definition.tasks[n].operator

    def pool(self, task_id: str) -> str:
        n = self.index.get(task_id)
        return "" if n is None else self.definition.tasks[n].pool or "default_pool"

    def layout(self) -> dict[str, Any]:
        """Returns the shape `Layout` of the REST API."""
        if self._layout is None:
            self._layout = _layout(self)
        return self._layout


def _inside(group_id: str, parents: Mapping[str, str], groups: set[str]) -> bool:
    while group_id:
        if group_id in groups:
            return True
        group_id = parents.get(group_id, "")
    return False


def _reach(start: set[str], edges: Mapping[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    stack = list(start)
    while stack:
        for other in edges[stack.pop()]:
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


def _layout(graph: DefinitionGraph) -> dict[str, Any]:
    definition = graph.definition
    tasks = [
        {
            "task_id": task.task_id,
            "operator": task.operator,
            "upstream_ids": graph.upstream[task.task_id],
            "group_id": task.group_id,
            "trigger_rule": words.trigger_rule(task.trigger_rule),
            "retries": task.retries,
            "pool": task.pool or "default_pool",
            "priority_weight": task.priority_weight,
            "mapped": task.task_id in graph.mapped,
            "is_sensor": task.is_sensor,
            "is_setup": task.is_setup,
            "is_teardown": task.is_teardown,
            "doc_md": task.doc_md,
            "owner": task.owner,
            "template_fields": json_object(task.template_fields_json),
            "resources": json_object(task.resources_json),
        }
        for task in definition.tasks
    ]
    groups = [
        {
            "group_id": group.group_id,
            "parent_id": group.parent_id,
            "label": group.label or group.group_id.rpartition(".")[2],
            "tooltip": group.tooltip,
            "mapped": group.HasField("map_length"),
        }
        for group in definition.task_groups
    ]
    labels = [
        {"upstream_id": edge.upstream_id, "downstream_id": edge.downstream_id, "label": edge.label}
        for edge in definition.edge_labels
    ]
    return {
        "dag_id": definition.dag_id,
        "version": definition.version,
        "tasks": tasks,
        "groups": groups,
        "edge_labels": labels,
    }


def json_object(text: str | bytes) -> dict[str, Any]:
    """Returns the JSON object in a field; an empty one for anything else."""
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
