"""Events of assets and of deadlines → rows; assets in definitions → lineage. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

from spinner_proto.definitions.v1 import definitions_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_proto.inbox.v1 import inbox_pb2

from spinner_webgateway.domain import words
from spinner_webgateway.domain.rows import WorkingSet
from spinner_webgateway.domain.words import clip

DEADLINE_STATES = {
    number: name.removeprefix("DEADLINE_STATE_").lower() for name, number in events_pb2.DeadlineState.items()
}


def asset_key(name: str) -> str:
    """Returns a key of fixed length for a name of any."""
    return hashlib.sha256(name.encode()).hexdigest()


def updated(rows: WorkingSet, event: events_pb2.AssetEvent) -> None:
    """An asset's owner recorded an update. What aliases pass on is the same update again."""
    if event.alias or not event.HasField("updated"):
        return
    update, name = event.updated, clip(event.name, 1500)
    at = words.micros(update.time) or 0
    rows.put("assets", {"asset_key": asset_key(name), "name": name, "update_count": update.sequence, "last_time": at})
    rows.put(
        "asset_events",
        {
            "asset_key": asset_key(name),
            "sequence": update.sequence,
            "time": at,
            "dag_id": clip(update.producer.dag_id, 250),
            "run_id": clip(update.producer.run_id, 250),
            "task_id": clip(update.producer.task_id, 250),
            "map_index": update.producer.map_index if update.producer.dag_id else -1,
            "extra": update.extra_json,
            "aliases": list(update.aliases),
            "actor": clip(update.actor.name, 250),
        },
    )


def consumed(rows: WorkingSet, dag_id: str, run_id: str, time: int, updates: Iterable[inbox_pb2.AssetUpdated]) -> None:
    """A run was made of these updates."""
    for update in updates:
        key = {"asset_key": asset_key(update.asset), "sequence": update.sequence, "dag_id": dag_id, "run_id": run_id}
        rows.put("asset_runs", {**key, "time": time})


def deadline(rows: WorkingSet, dag_id: str, run_id: str, time: int, event: events_pb2.DeadlineChanged) -> None:
    rows.put(
        "deadlines",
        {
            "dag_id": dag_id,
            "run_id": run_id,
            "name": clip(event.name, 250),
            "task_id": clip(event.task_id, 250),
            "state": DEADLINE_STATES.get(event.state, ""),
            "deadline_time": words.micros(event.deadline_time) or 0,
            "expected_end_time": words.micros(event.expected_end_time),
            "median_seconds": event.median_duration.ToTimedelta().total_seconds() if event.run_count else None,
            "run_count": event.run_count,
            "changed_time": time,
        },
    )


def uses_assets(definition: definitions_pb2.DagDefinition) -> bool:
    """Whether a definition is part of the lineage."""
    return bool(definition.assets) or any(
        task.inlets or task.outlets or task.outlet_aliases for task in definition.tasks
    )


def awaited(expression: definitions_pb2.AssetExpression) -> Iterator[tuple[bool, str]]:
    """Yields the assets and aliases (True) of a condition."""
    kind = expression.WhichOneof("kind")
    if kind in ("asset", "alias"):
        yield kind == "alias", getattr(expression, kind)
    elif kind is not None:
        for item in getattr(expression, kind).items:
            yield from awaited(item)


def unnamed_asset() -> dict[str, Any]:
    """What is known of an asset that no definition names. `freshness`: seconds, None for ever."""
    return {
        "uri": "", "group": "", "extra_json": "", "freshness": None, "producers": [], "readers": [], "consumers": [],
    }  # fmt: skip


class Lineage:
    """Who makes, reads and waits for each asset, gathered from definitions."""

    def __init__(self) -> None:
        self.assets: dict[tuple[bool, str], dict[str, Any]] = {}

    def add(self, definition: definitions_pb2.DagDefinition) -> None:
        dag_id = definition.dag_id
        for named in definition.assets:
            entry = self._entry((named.alias, named.name))
            entry["uri"] = entry["uri"] or named.uri
            entry["group"] = entry["group"] or named.group
            entry["extra_json"] = entry["extra_json"] or named.extra_json
            if named.HasField("freshness"):
                # Who wants it fresher decides.
                entry["freshness"] = min(entry["freshness"] or math.inf, words.seconds_of(named.freshness))
        for task in definition.tasks:
            names = [(False, name) for name in task.outlets] + [(True, name) for name in task.outlet_aliases]
            for key in names:
                self._entry(key)["producers"].append({"dag_id": dag_id, "task_id": task.task_id})
            for name in task.inlets:
                self._entry((False, name))["readers"].append({"dag_id": dag_id, "task_id": task.task_id})
        if definition.schedule.HasField("assets"):
            for key in dict.fromkeys(awaited(definition.schedule.assets.expression)):
                self._entry(key)["consumers"].append({"dag_id": dag_id, "task_id": None})

    def _entry(self, key: tuple[bool, str]) -> dict[str, Any]:
        return self.assets.setdefault(key, unnamed_asset())
