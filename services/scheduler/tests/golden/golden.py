"""Logs of a release, kept so that later releases are held to read them.

A file holds what a scheduler's topics held at one moment (definitions, events with their offsets, snapshots) and what
that means, in words that don't change with the scheduler's memory (`meaning`). Record new ones with
`python -m services.scheduler.tests.golden.record RELEASE SEED…`; never record old ones anew.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import zstandard
from spinner_eventlog import topics
from spinner_eventlog.memory import MemoryLog
from spinner_eventlog.memory_broker import Stored
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_scheduler.adapters.machine import Policy, SchedulerMachine
from spinner_scheduler.domain import snapshots, times
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import RUN_STATE_NAMES, TASK_STATE_NAMES
from spinner_scheduler.simulation.processes import CLUSTER, PARTITIONS, TIERS
from spinner_scheduler.simulation.world import Store, World

FOLDER = Path(__file__).parent


class Golden:
    """`log`, `store`: as they were; `meanings`: by "tier_partition"."""

    def __init__(self) -> None:
        self.log = MemoryLog(wait=False)
        topics.create_topics(self.log, [CLUSTER], TIERS, {"scheduler_inbox": PARTITIONS})
        self.store = Store()
        self.meanings: dict[str, Any] = {}
        self.now = 0

    def machine(self, tier: int, partition: int, policy: Policy) -> SchedulerMachine:
        return SchedulerMachine(self.log, self.store, policy, tier, partition)  # type: ignore[arg-type]


def partitions() -> list[tuple[int, int]]:
    return [(tier, partition) for tier in TIERS for partition in range(PARTITIONS)]


def _topics_of(tier: int) -> list[str]:
    return [topics.events_topic(CLUSTER, tier), topics.snapshots_topic(CLUSTER, tier)]


def write(path: Path, world: World) -> None:
    """Keeps what the world's log holds now."""
    logs = []
    for tier, partition in partitions():
        for topic in _topics_of(tier):
            entries = world.log.broker._partition(topic, partition)
            logs.append([topic, partition, [_entry(stored) for stored in entries]])
    golden = {
        "now": world.now,
        "definitions": [b64encode(found.SerializeToString()).decode() for found in world.store.all()],
        "logs": logs,
        "meanings": {
            f"{tier}_{partition}": meaning(_restored(world, tier, partition).state) for tier, partition in partitions()
        },
    }
    text = json.dumps(golden, separators=(",", ":"), sort_keys=True).encode()
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(text))


def _restored(world: World, tier: int, partition: int) -> SchedulerMachine:
    machine = SchedulerMachine(world.log, world.store, world.policy, tier, partition)  # type: ignore[arg-type]
    machine.restore()
    return machine


def _entry(stored: Stored | None) -> list[Any] | None:
    if stored is None:
        return None
    value = None if stored.value is None else b64encode(stored.value).decode()
    kept = {name: text.decode() for name, text in stored.headers if name in ("ce_type", "content-encoding")}
    return [stored.time_ms, stored.key.decode(), value, kept]


def read(path: Path) -> Golden:
    data = json.loads(zstandard.ZstdDecompressor().decompress(path.read_bytes()))
    golden = Golden()
    for text in data["definitions"]:
        golden.store.put(DagDefinition.FromString(b64decode(text)))
    for topic, partition, entries in data["logs"]:
        for entry in entries:
            stored = None
            if entry is not None:
                time_ms, key, value, headers = entry
                raw = None if value is None else b64decode(value)
                stored = Stored(time_ms, key.encode(), raw, [(name, text.encode()) for name, text in headers.items()])
            golden.log.broker.append((topic, partition), stored)
    golden.meanings, golden.now = data["meanings"], data["now"]
    return golden


def meaning(state: PartitionState) -> dict[str, Any]:
    """What a state says to people: DAGs, runs, task instances, pools, answered commands."""
    return {
        "dags": {dag_id: _dag(state, dag_id) for dag_id in sorted(state.dags)},
        "pools": {
            name: [pool.slots, pool.used, pool.granted, len(pool.requests)]
            for name, pool in sorted(state.pools.items())
            if pool.owned and pool.slots >= 0
        },
        "answered": sorted(state.request_ids),
    }


def _dag(state: PartitionState, dag_id: str) -> dict[str, Any]:
    dag = state.dags[dag_id]
    runs = {run_id: _run(run) for run_id, run in dag.runs.items()}
    for run_id, kept in dag.finished.items():
        runs[run_id] = _run(snapshots.decode_run(kept, state.layouts))
    return {
        "version": dag.version,
        "paused": dag.paused,
        "removed": dag.removed,
        "next_run": times.from_timestamp(dag.updated.next_run_time),
        "last_scheduled": times.from_timestamp(dag.updated.last_scheduled_logical_date),
        "active": dag.active,
        "live": sorted(dag.runs),
        "runs": dict(sorted(runs.items())),
        "backfills": {name: int(backfill.state) for name, backfill in sorted(dag.backfills.items())},
    }


def _run(run: Run) -> dict[str, Any]:
    tasks = {}
    for slot in run.live_slots():
        name = f"{run.layout.task_ids[run.position(slot)]}[{run.map_index(slot)}]"
        tasks[name] = [TASK_STATE_NAMES[run.states[slot]], run.tries[slot], run.segments[slot]]
    return {"version": run.version, "state": RUN_STATE_NAMES[run.state], "logical": run.logical, "tasks": tasks}
