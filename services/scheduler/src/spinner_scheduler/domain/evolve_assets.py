"""Events of assets: what an owner knows of its assets and watchers, and the updates that a waiting DAG keeps.

Everything kept is bounded, the oldest goes first: updates of a DAG that waits for others, runs of partitions, ids of a
watcher's events.
"""

from __future__ import annotations

from spinner_proto.events.v1 import events_pb2 as ev
from spinner_proto.inbox.v1.inbox_pb2 import AssetSubscribed, AssetUpdated, AssetUsed

from spinner_scheduler.domain import times
from spinner_scheduler.domain.asset_state import AssetState, Watcher, event_hash
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.state import PartitionState

# Updates of one asset that a DAG keeps while it waits for others.
_KEPT_UPDATES = 50
# Runs of partitions that a DAG keeps updates for, and updates of each.
_KEPT_PARTITIONS = 1_000
_KEPT_OF_PARTITION = 2_000
# Ids of a watcher's events that are remembered.
REMEMBERED_EVENTS = 2_000


def asset_event(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.asset_event
    asset = state.asset((e.alias, e.name))
    kind = e.WhichOneof("kind")
    if kind == "subscribed":
        kept = AssetSubscribed()
        kept.CopyFrom(e.subscribed)
        asset.subscribers[kept.dag_id] = kept
    elif kind == "unsubscribed":
        asset.subscribers.pop(e.unsubscribed.dag_id, None)
    elif kind == "watcher_changed":
        _watcher_changed(asset, e.watcher_changed)
    elif kind == "stale":
        asset.stale_time = times.from_timestamp(e.stale.stale_time)
    else:
        if kind == "used":
            used = AssetUsed()
            used.CopyFrom(e.used)
            asset.first_used = asset.first_used if asset.users else state.event_time
            asset.users[used.dag_id] = used
        elif kind == "unused":
            asset.users.pop(e.unused.dag_id, None)
        else:
            asset.last_sequence = max(asset.last_sequence, e.updated.sequence)
            asset.last_time = times.from_timestamp(e.updated.time)
        if asset.users and not e.alias:
            state.arm_asset(e.name)


def _watcher_changed(asset: AssetState, e: ev.WatcherChanged) -> None:
    watcher = asset.watchers.setdefault(e.name, Watcher())
    told = ev.WatcherChanged()
    told.CopyFrom(e)
    told.ClearField("event_ids")
    before = watcher.told
    if not told.HasField("cursor"):
        told.cursor = before.cursor
    if e.state != ev.WATCHER_STATE_STARTING:
        told.generation = before.generation
        told.definition.CopyFrom(before.definition)
        if before.HasField("bundle"):
            told.bundle.CopyFrom(before.bundle)
        told.mark = e.mark or before.mark
    watcher.told = told
    for event_id in e.event_ids:
        watcher.seen[event_hash(event_id)] = None
    while len(watcher.seen) > REMEMBERED_EVENTS:
        watcher.seen.popitem(last=False)


def asset_received(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    if event.asset_received.ignored_reason:
        dag.ignored = ev.AssetReceived()
        dag.ignored.CopyFrom(event.asset_received)
        return
    kept = AssetUpdated()
    kept.CopyFrom(event.asset_received.update)
    if kept.run_partition_key:
        keep_partition(dag, kept)
        return
    dag.updates.append(kept)
    same = [u for u in dag.updates if (u.asset, u.via_alias) == (kept.asset, kept.via_alias)]
    if len(same) > _KEPT_UPDATES:
        dag.updates.remove(same[0])


def keep_partition(dag: DagState, update: AssetUpdated) -> None:
    """Keeps an update for the run of a partition; the oldest go when there are too many."""
    kept = dag.partitioned.setdefault(update.run_partition_key, {})
    asset = (True, update.via_alias) if update.via_alias else (False, update.asset)
    kept.pop((asset, update.partition_key), None)
    kept[(asset, update.partition_key)] = update
    if len(kept) > _KEPT_OF_PARTITION:
        del kept[next(iter(kept))]
    if len(dag.partitioned) > _KEPT_PARTITIONS:
        del dag.partitioned[next(iter(dag.partitioned))]


def assets_consumed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    if event.assets_consumed.partition_key:
        dag.partitioned.pop(event.assets_consumed.partition_key, None)
        return
    dag.updates.clear()
    if not event.assets_consumed.run_id:
        dag.partitioned.clear()
