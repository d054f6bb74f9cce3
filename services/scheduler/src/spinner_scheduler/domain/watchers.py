"""What an asset's owner does for the DAGs that use it: it has watchers run, and says when the asset is not fresh.

A watcher is a trigger that runs for good; each of its events makes one of the asset's. It is an order like those of
deferred tasks, so exactly one executor runs it, moved when that one dies. There is one for each name, however many
DAGs have it; when they differ, the first DAG's by id. A new content is a new generation, the try number of its order.

Events are reported at least once and in their order. The owner counts one with an id once: it remembers the latest
`REMEMBERED` ids, and an executor lets a trigger be at most `MAX_AHEAD` events ahead of what the order says was heard
of. With an event comes the position after it, the cursor; it is in the order, so the next life of the trigger goes on
from there.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from spinner_proto.common.v1.common_pb2 import BundleRef, TryKey
from spinner_proto.definitions.v1.definitions_pb2 import WatcherDefinition
from spinner_proto.events.v1.events_pb2 import WatcherChanged, WatcherState
from spinner_proto.inbox.v1.inbox_pb2 import (
    AssetMessage,
    AssetStale,
    AssetUnsubscribed,
    AssetUpdated,
    AssetUsed,
    InboxMessage,
    TaskReport,
    WatcherEvent,
)
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder

from spinner_scheduler.domain import assets, callbacks, partitions, times
from spinner_scheduler.domain.asset_state import AssetState, Watcher, event_hash
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import stale_order
from spinner_scheduler.domain.pools import Address

PREFIX = "__watcher__."
_DAG_ID = "__asset__"

STARTING = WatcherState.WATCHER_STATE_STARTING
RUNNING = WatcherState.WATCHER_STATE_RUNNING
FAILING = WatcherState.WATCHER_STATE_FAILING
STOPPED = WatcherState.WATCHER_STATE_STOPPED

_MAX_ERROR = 2_000


def is_watcher(task_id: str) -> bool:
    return task_id.startswith(PREFIX)


# -- who uses it ---------------------------------------------------------------------------------------------------


def used(d: Decision, name: str, wanted: AssetUsed) -> None:
    """A DAG wants something to be done for the asset."""
    if d.state.asset((False, name)).users.get(wanted.dag_id) == wanted:
        return
    d.emit_asset((False, name), lambda event: event.asset_event.used.CopyFrom(wanted))
    _settle(d, name)


def unused(d: Decision, name: str, gone: AssetUnsubscribed) -> None:
    """A DAG wants nothing for it any more."""
    kept = d.state.asset((False, name)).users.get(gone.dag_id)
    # A DAG that moved has told it from its new partition meanwhile.
    if kept is None or (kept.reply_topic, kept.reply_partition) != (gone.reply_topic, gone.reply_partition):
        return
    d.emit_asset((False, name), lambda event: event.asset_event.unused.CopyFrom(gone))
    _settle(d, name)


def _wanted(asset: AssetState) -> dict[str, tuple[WatcherDefinition, BundleRef]]:
    found: dict[str, tuple[WatcherDefinition, BundleRef]] = {}
    for _, user in sorted(asset.users.items()):
        for definition in user.watchers:
            bundle = user.bundle if definition.needs_bundle else BundleRef()
            found.setdefault(definition.name, (definition, bundle))
    return found


def _settle(d: Decision, name: str) -> None:
    """Starts what is wanted and not there, stops what isn't wanted."""
    asset = d.state.asset((False, name))
    wanted = _wanted(asset)
    for watcher_name, watcher in list(asset.watchers.items()):
        if watcher.told.state != STOPPED and watcher_name not in wanted:
            d.tombstone(_key(name, watcher))
            _change(d, name, WatcherChanged(name=watcher_name, state=STOPPED))
    for watcher_name, (definition, bundle) in wanted.items():
        known = asset.watchers.get(watcher_name)
        changed = WatcherChanged(name=watcher_name, state=STARTING, generation=1, definition=definition)
        if bundle.object_key:
            changed.bundle.CopyFrom(bundle)
        if known is not None:
            told = known.told
            if told.state != STOPPED:
                if told.definition == definition and told.bundle == bundle:
                    continue
                d.tombstone(_key(name, known))
            changed.generation = told.generation + 1
            if told.definition.trigger_class != definition.trigger_class:
                changed.cursor = ""
        _change(d, name, changed)
        _order(d, name, asset.watchers[watcher_name])


def _change(d: Decision, name: str, changed: WatcherChanged) -> None:
    d.emit_asset((False, name), lambda event: event.asset_event.watcher_changed.CopyFrom(changed))


# -- watchers ------------------------------------------------------------------------------------------------------


def _key(name: str, watcher: Watcher) -> TryKey:
    """The key of a watcher's order; names of assets may be any text."""
    return TryKey(
        dag_id=_DAG_ID,
        run_id=blake2b(name.encode(), digest_size=12).hexdigest(),
        task_id=PREFIX + watcher.told.name,
        map_index=-1,
        try_number=watcher.told.generation,
    )


def _order(d: Decision, name: str, watcher: Watcher) -> None:
    told, here = watcher.told, d.state.here
    order = TaskOrder(
        try_key=_key(name, watcher),
        kind=OrderKind.ORDER_KIND_WATCHER,
        desired_state=DesiredState.DESIRED_STATE_DEFERRED,
        reply_topic=here.inbox,
        reply_partition=here.partition,
        cluster=d.state.cluster,
        trigger_class=told.definition.trigger_class,
        trigger_arguments_json=told.definition.trigger_arguments_json,
        asset=name,
        trigger_cursor=told.cursor,
        trigger_mark=told.mark,
        ordered_time=d.time,
    )
    if told.bundle.object_key:
        order.bundle.CopyFrom(told.bundle)
    d.order(order)


def reported(d: Decision, report: TaskReport) -> None:
    """Takes what an executor says of a watcher."""
    if report.WhichOneof("kind") != "watcher_reported":
        return
    said = report.watcher_reported
    asset = d.state.assets.get((False, said.asset))
    watcher = asset.watchers.get(report.try_key.task_id.removeprefix(PREFIX)) if asset is not None else None
    if watcher is None or watcher.told.state == STOPPED or _key(said.asset, watcher) != report.try_key:
        d.tombstone(report.try_key)
        return
    changed = WatcherChanged(name=watcher.told.name, executor=report.executor)
    if said.error:
        changed.state, changed.error = FAILING, said.error[:_MAX_ERROR]
        _change(d, said.asset, changed)
        return
    changed.state, changed.mark = RUNNING, said.mark
    known = set(watcher.seen)
    for event in said.events:
        if event.cursor:
            changed.cursor = event.cursor
        if not event.payload_json or (event.event_id and event_hash(event.event_id) in known):
            continue
        if event.event_id:
            known.add(event_hash(event.event_id))
            changed.event_ids.append(event.event_id)
        assets.updated(d, _update(d, said.asset, watcher.told.name, event))
    _change(d, said.asset, changed)
    if said.events:
        _order(d, said.asset, watcher)


def _update(d: Decision, name: str, watcher: str, event: WatcherEvent) -> AssetUpdated:
    update = AssetUpdated(asset=name, time=d.time, watcher=watcher, event_id=event.event_id)
    if len(event.partition_key) <= partitions.MAX_KEY:
        update.partition_key = event.partition_key
    text = f'{{"from_trigger":true,"payload":{event.payload_json.decode()}}}'
    if len(text) > assets.MAX_EXTRA_BYTES:
        text = json.dumps({"from_trigger": True, "payload": None, "payload_bytes": len(event.payload_json)})
    update.extra_json = text
    return update


# -- freshness -----------------------------------------------------------------------------------------------------


def went_stale(d: Decision, name: str, due: int) -> None:
    """The asset is fresh no longer; the first DAG by id with a callback calls it."""
    asset = d.state.asset((False, name))
    user = next((user for _, user in sorted(asset.users.items()) if user.has_stale_callback), None)
    stale = AssetStale(dag_id=user.dag_id if user is not None else "", stale_time=times.to_timestamp(due))
    if asset.last_time:
        stale.last_update_time.CopyFrom(times.to_timestamp(asset.last_time))
    d.emit_asset((False, name), lambda event: event.asset_event.stale.CopyFrom(stale))
    if user is not None:
        to = Address(user.reply_topic, user.reply_partition)
        d.send(to, user.dag_id, InboxMessage(asset=AssetMessage(name=name, stale=stale)))


def call_back(d: Decision, name: str, stale: AssetStale) -> None:
    """Orders the callback of a DAG of this partition."""
    dag = d.state.dags.get(stale.dag_id)
    layout = d.state.layout_of(dag) if dag is not None else None
    if dag is None or layout is None or dag.removed:
        return
    if any(asset.name == name and asset.has_stale_callback for asset in layout.definition.assets):
        callbacks.order(d, stale_order(d.state, layout, name, stale))
