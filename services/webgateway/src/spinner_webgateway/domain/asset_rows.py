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
from spinner_webgateway.domain.rows import Need, Row, WorkingSet
from spinner_webgateway.domain.words import clip

DEADLINE_STATES = {
    number: name.removeprefix("DEADLINE_STATE_").lower() for name, number in events_pb2.DeadlineState.items()
}


def asset_key(name: str) -> str:
    """Returns a key of fixed length for a name of any."""
    return hashlib.sha256(name.encode()).hexdigest()


WATCHER_STATES = {
    number: name.removeprefix("WATCHER_STATE_").lower() for name, number in events_pb2.WatcherState.items()
}


def watcher_try(name: str, row: Row) -> Row:
    """Returns a watcher's row as one of a try, so that its log can be read."""
    return {
        # The key of its order, as the scheduler makes it.
        "dag_id": "__asset__",
        "run_id": hashlib.blake2b(name.encode(), digest_size=12).hexdigest(),
        "task_id": f"__watcher__.{row['name']}",
        "map_index": -1,
        "try_number": row["generation"],
        "state": "deferred",
        "outcome": "",
        "executor": row["executor"],
        "log_key": "",
    }


def needs(events: Iterable[events_pb2.WorkflowEvent]) -> Iterator[Need]:
    """Yields the rows that `recorded` reads."""
    for event in events:
        told = event.asset_event
        name = told.watcher_changed.name or told.updated.watcher
        if event.HasField("asset_event") and name and not told.alias:
            yield "asset_watchers", (asset_key(told.name), name)


def recorded(rows: WorkingSet, event: events_pb2.AssetEvent, time: int) -> None:
    """What an asset's owner recorded. What aliases pass on is the same update again."""
    kind = event.WhichOneof("kind")
    if event.alias:
        return
    if kind == "updated":
        _updated(rows, event)
    elif kind == "watcher_changed":
        _watcher(rows, event.name, event.watcher_changed, time)
    elif kind == "stale":
        due = words.micros(event.stale.stale_time) or 0
        key, moment = asset_key(event.name), words.time_of(due)
        # The key of the callback's try, as the scheduler makes it.
        run_id = f"stale__{moment.isoformat() if moment else ''}__{key[:8]}"
        row = {"asset_key": key, "dag_id": event.stale.dag_id, "run_id": run_id, "stale_time": due}
        rows.put("asset_stales", row)


def _watcher(rows: WorkingSet, asset: str, told: events_pb2.WatcherChanged, time: int) -> None:
    row = rows.edit("asset_watchers", (asset_key(asset), told.name))
    if row is None:
        row = rows.put(
            "asset_watchers",
            {
                "asset_key": asset_key(asset),
                "name": told.name,
                "trigger_class": "",
                "event_count": 0,
                "last_event_time": None,
                "last_error": "",
                "last_error_time": None,
                "executor": "",
                "generation": 0,
            },
        )
    row["state"] = WATCHER_STATES.get(told.state, "")
    if told.HasField("definition"):
        row["trigger_class"] = clip(told.definition.trigger_class, 1000)
    if told.generation:
        row["generation"] = told.generation
    if told.error:
        row["last_error"], row["last_error_time"] = clip(told.error), time
    row["executor"] = clip(told.executor, 250)


def _updated(rows: WorkingSet, event: events_pb2.AssetEvent) -> None:
    update, name = event.updated, clip(event.name, 1500)
    at = words.micros(update.time) or 0
    if update.partition_key:
        rows.put(
            "asset_partitions",
            {
                "asset_key": asset_key(name),
                "partition_hash": asset_key(update.partition_key),
                "partition_key": clip(update.partition_key, 250),
                "sequence": update.sequence,
                "time": at,
            },
        )
    watcher = rows.edit("asset_watchers", (asset_key(name), update.watcher)) if update.watcher else None
    if watcher is not None:
        watcher["event_count"] += 1
        watcher["last_event_time"] = at
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
            "partition_key": clip(update.partition_key, 250),
            "watcher": clip(update.watcher, 250),
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
