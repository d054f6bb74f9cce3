"""Snapshots and how a partition's state comes back: the snapshots, then the events after them.

Entities are `dag:<id>`, `run:<dag_id>/<run_id>` and `pool:<name>`. A snapshot of an entity covers all events before
its `events_offset`. The one of `partition:<n>` says where reading must begin: at the first event of any entity that
changed after its latest snapshot. Recovery never reads the history before that, and no DAG file.

What a scheduler wrote can always be read, so a record that can't be read is somebody else's: it is counted, passed
over, and stops nothing. The gateway, which reads the events too, keeps it in `dead_letters`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message
from spinner_eventlog import telemetry
from spinner_eventlog.interface import EventLog, Poison, Record
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.inbox.v1.inbox_pb2 import Command, TimetableEvaluated
from spinner_proto.snapshots.v1.snapshots_pb2 import RunSnapshot, Snapshot

from spinner_scheduler.domain import snapshots, times
from spinner_scheduler.domain.asset_state import Watcher, asset_text
from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.dag_state import Sleeper
from spinner_scheduler.domain.evolve import evolve
from spinner_scheduler.domain.evolve_assets import keep_partition
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import RUN_FAILED, RUN_SUCCESS

logger = logging.getLogger("spinner_scheduler.recovery")
M = TypeVar("M", bound=Message)


def entity_of(record: WorkflowEvents) -> str:
    """Returns the entity that a record of events is about."""
    if record.run_id:
        return f"run:{record.dag_id}/{record.run_id}"
    if record.dag_id:
        return f"dag:{record.dag_id}"
    first = record.events[0]
    if first.HasField("asset_event"):
        return asset_text((first.asset_event.alias, first.asset_event.name))
    return f"pool:{first.pool_event.pool}"


def take_snapshot(state: PartitionState, entity: str, events_offset: int) -> Snapshot | None:
    """Returns an entity's snapshot, None when it is no more."""
    kind, _, name = entity.partition(":")
    snapshot = Snapshot(events_offset=events_offset)
    snapshot.time.CopyFrom(times.to_timestamp(state.now))
    if kind == "dag":
        dag = state.dags.get(name)
        if dag is None:
            return None
        snapshot.dag.dag_id = name
        snapshot.dag.dag.CopyFrom(dag.updated)
        snapshot.dag.format = 1
        snapshot.dag.asset_updates.extend(dag.updates)
        for kept in dag.partitioned.values():
            snapshot.dag.asset_updates.extend(kept.values())
        if dag.ignored is not None:
            snapshot.dag.asset_ignored.CopyFrom(dag.ignored)
        snapshot.dag.measured.extend(dag.measured)
        if dag.evaluated is not None:
            snapshot.dag.timetable.CopyFrom(dag.evaluated)
        snapshot.dag.held_commands.extend(dag.held.values())
        snapshot.dag.state = b"\x01" if dag.removed else b"\x00"
        snapshot.dag.backfills.extend(backfill.snapshot() for backfill in dag.backfills.values())
        snapshot.dag.taken_dates.extend(dag.taken)
    elif kind == "run":
        dag_id, _, run_id = name.partition("/")
        dag = state.dags.get(dag_id)
        run = dag.runs.get(run_id) if dag is not None else None
        finished = dag.finished.get(run_id) if dag is not None else None
        if run is None and finished is None:
            return None
        snapshot.run.dag_id, snapshot.run.run_id = dag_id, run_id
        snapshot.run.format = snapshots.FORMAT
        snapshot.run.state = snapshots.encode_run(run) if run is not None else finished or b""
        if run is not None:
            snapshot.run.backfill_id = run.backfill_id
            for pool_name, (slots, deferred) in snapshots.held(run).items():
                snapshot.run.held.add(pool=pool_name, slots=slots, deferred=deferred)
    elif kind in ("asset", "alias"):
        asset = state.asset((kind == "alias", name))
        snapshot.asset.name, snapshot.asset.alias = name, kind == "alias"
        snapshot.asset.subscribers.extend(asset.subscribers.values())
        snapshot.asset.last_sequence = asset.last_sequence
        snapshot.asset.last_update_time.CopyFrom(times.to_timestamp(asset.last_time))
        snapshot.asset.users.extend(asset.users.values())
        for watcher in asset.watchers.values():
            snapshot.asset.watchers.add(watcher=watcher.told, event_hashes=watcher.seen)
        if asset.first_used:
            snapshot.asset.first_used_time.CopyFrom(times.to_timestamp(asset.first_used))
            snapshot.asset.stale_time.CopyFrom(times.to_timestamp(asset.stale_time))
    else:
        pool = state.pools.get(name)
        if pool is None:
            return None
        snapshot.pool.pool = name
        snapshot.pool.format = 1
        snapshot.pool.state = _encode_pool(pool).SerializeToString()
    return snapshot


def partition_snapshot(state: PartitionState, events_offset: int) -> Snapshot:
    snapshot = Snapshot(events_offset=events_offset)
    snapshot.time.CopyFrom(times.to_timestamp(state.now))
    snapshot.partition.request_ids.extend(state.request_ids)
    snapshot.partition.last_pool_request = state.last_request
    snapshot.partition.foreign_deferred.update(state.foreign_deferred)
    return snapshot


def _encode_pool(pool: Pool) -> WorkflowEvents:
    """A pool as the events that make it."""
    record = WorkflowEvents()
    if pool.slots >= 0:
        changed = record.events.add().pool_event
        changed.pool = pool.name
        changed.changed.slots = pool.slots
        changed.changed.include_deferred = pool.include_deferred
        changed.changed.description = pool.description
    for request in pool.requests.values():
        asked = record.events.add().pool_event
        asked.pool = pool.name
        asked.requested.CopyFrom(request.message)
        if request.granted:
            granted = record.events.add().pool_event
            granted.pool = pool.name
            granted.granted.try_key.CopyFrom(request.message.try_key)
            granted.granted.request = request.message.request
    return record


class Restored:
    """What recovery found besides the state.

    `await_definition(dag_id, version)` may block until a definition is readable: another topic, so perhaps later.
    """

    def __init__(self, await_definition: Callable[[str, str], object] | None = None) -> None:
        self.await_definition = await_definition
        # Where the next event will be, at the least.
        self.next_offset = 0
        # Entities changed after their snapshot, with their first such event, and with their latest.
        self.unsaved: dict[str, int] = {}
        self.latest: dict[str, int] = {}
        # How far the snapshots that were read cover their entities.
        self.covered: dict[str, int] = {}
        self.events = 0
        self.snapshots = 0


def restore(
    state: PartitionState,
    log: EventLog,
    snapshot_topic: str,
    events_topic: str,
    partition: int,
    await_definition: Callable[[str, str], object] | None = None,
) -> Restored:
    """Fills an empty state from the log. Raises what a record of ours that can't be applied raises."""
    restored = Restored(await_definition)
    start = 0
    kept = log.read_compacted(snapshot_topic, partition)
    for key in sorted(kept, key=_order):
        snapshot = _readable(kept[key], Snapshot)
        if snapshot is None:
            continue
        state.now = max(state.now, times.from_timestamp(snapshot.time))
        if snapshot.WhichOneof("kind") == "partition":
            start = snapshot.events_offset
            state.last_request = snapshot.partition.last_pool_request
            state.request_ids.update(dict.fromkeys(snapshot.partition.request_ids))
            state.foreign_deferred.update(snapshot.partition.foreign_deferred)
            continue
        restored.covered[key] = snapshot.events_offset
        _load(state, snapshot)
        restored.snapshots += 1
    for dag in state.dags.values():
        if len(dag.finished) > 1:
            for run_id, _ in sorted(dag.finished.items(), key=lambda item: snapshots.summary(item[1]).end):
                dag.finished.move_to_end(run_id)
    restored.next_offset = start
    catch_up(state, log, events_topic, partition, restored)
    restored.covered.clear()
    return restored


def catch_up(state: PartitionState, log: EventLog, events_topic: str, partition: int, restored: Restored) -> None:
    """Applies the events that follow, to the end of the log: those are whole decisions."""
    for record in log.read_all(events_topic, partition, restored.next_offset):
        replay(state, record, restored)
    state.settled()


def _readable(record: Record, message_type: type[M]) -> M | None:
    try:
        return record.decode(message_type)
    except Poison as poison:
        telemetry.DEAD_LETTERS.labels(record.topic).inc()
        logger.error("passed over in recovery: %s", poison)
        return None


def _order(key: str) -> tuple[int, str]:
    return ({"partition": 0, "pool": 1, "dag": 2, "run": 3}.get(key.partition(":")[0], 4), key)


def _load(state: PartitionState, snapshot: Snapshot) -> None:
    kind = snapshot.WhichOneof("kind")
    if kind == "dag":
        dag = state.dag(snapshot.dag.dag_id)
        dag.updated.CopyFrom(snapshot.dag.dag)
        dag.removed = snapshot.dag.state == b"\x01"
        for update in snapshot.dag.asset_updates:
            if update.run_partition_key:
                keep_partition(dag, update)
            else:
                dag.updates.append(update)
        if snapshot.dag.HasField("asset_ignored"):
            dag.ignored = snapshot.dag.asset_ignored
        dag.measured = list(snapshot.dag.measured)
        for command in snapshot.dag.held_commands:
            held = Command()
            held.CopyFrom(command)
            dag.held[held.request_id] = held
        if snapshot.dag.HasField("timetable"):
            dag.evaluated = TimetableEvaluated()
            dag.evaluated.CopyFrom(snapshot.dag.timetable)
        for kept in snapshot.dag.backfills:
            dag.backfills[kept.created.request.backfill_id] = Backfill.restore(kept)
        dag.taken = list(snapshot.dag.taken_dates)
        state.arm_dag(dag)
    elif kind == "run":
        data = snapshot.run.state
        said = snapshots.summary(data)
        dag = state.dag(snapshot.run.dag_id)
        if said.unfinished == 0 and said.state in (RUN_SUCCESS, RUN_FAILED):
            dag.finished[snapshot.run.run_id] = data
            state.know(dag, said.logical, snapshot.run.run_id)
            if said.state == RUN_SUCCESS:
                state.remember_success(dag, (said.logical, said.interval_start, said.interval_end))
        elif snapshot.run.format >= snapshots.FORMAT:
            sleeper = Sleeper(data, said, _held(state, snapshot.run), snapshot.run.backfill_id)
            state.add_sleeper(dag, snapshot.run.run_id, sleeper)
        else:
            state.add_run(dag, snapshots.decode_run(data, state.layouts))
    elif kind == "asset":
        asset = state.asset((snapshot.asset.alias, snapshot.asset.name))
        asset.subscribers = {subscriber.dag_id: subscriber for subscriber in snapshot.asset.subscribers}
        asset.last_sequence = snapshot.asset.last_sequence
        asset.last_time = times.from_timestamp(snapshot.asset.last_update_time)
        asset.users = {user.dag_id: user for user in snapshot.asset.users}
        for kept_watcher in snapshot.asset.watchers:
            seen = OrderedDict.fromkeys(kept_watcher.event_hashes)
            asset.watchers[kept_watcher.watcher.name] = Watcher(kept_watcher.watcher, seen)
        asset.first_used = times.from_timestamp(snapshot.asset.first_used_time)
        asset.stale_time = times.from_timestamp(snapshot.asset.stale_time)
        if asset.users and not snapshot.asset.alias:
            state.arm_asset(snapshot.asset.name)
    elif kind == "pool":
        events = WorkflowEvents()
        events.ParseFromString(snapshot.pool.state)
        for event in events.events:
            evolve(state, "", "", event)


def _held(state: PartitionState, run: RunSnapshot) -> tuple[tuple[str, int], ...]:
    found = []
    for use in run.held:
        pool = state.pool(use.pool)
        if pool.owned:
            found.append((use.pool, use.slots + (use.deferred if pool.include_deferred else 0)))
    return tuple(found)


def replay(state: PartitionState, record: Record, restored: Restored) -> None:
    """Applies a record of events, unless its entity's snapshot covers it."""
    restored.next_offset = record.offset + 1
    events = _readable(record, WorkflowEvents)
    if events is None or not events.events:
        return
    entity = entity_of(events)
    old = record.offset < restored.covered.get(entity, 0)
    if not old:
        restored.unsaved.setdefault(entity, record.offset)
        restored.latest[entity] = record.offset
    state.at(times.from_timestamp(events.time))
    dag = state.dags.get(events.dag_id)
    # Asking for runs wakes them: not for events that their snapshot covers.
    known = (
        old or not events.run_id or (dag is not None and (events.run_id in dag.finished or events.run_id in dag.runs))
    )
    for event in events.events:
        kind = event.WhichOneof("kind")
        if old and kind not in ("command_accepted", "command_rejected"):
            continue
        if kind == "run_created":
            known = True
            _await_definition(state, events.dag_id, event.run_created.version, restored)
        elif kind == "run_version_changed":
            _await_definition(state, events.dag_id, event.run_version_changed.version, restored)
        if not known:
            # Of a finished run that was forgotten since: its snapshot is gone, its beginning before our start.
            continue
        evolve(state, events.dag_id, events.run_id, event)
        restored.events += 1


def _await_definition(state: PartitionState, dag_id: str, version: str, restored: Restored) -> None:
    if restored.await_definition is not None and state.layouts.get(dag_id, version) is None:
        restored.await_definition(dag_id, version)
