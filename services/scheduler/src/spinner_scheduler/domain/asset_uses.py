"""What definitions want to be done for their assets, told to the assets' owners: watchers, and freshness.

A DAG that is paused or removed wants nothing. An owner does what any of the DAGs wants that told it so (`watchers`).
"""

from __future__ import annotations

from spinner_proto.inbox.v1.inbox_pb2 import AssetMessage, AssetUnsubscribed, AssetUsed, InboxMessage

from spinner_scheduler.domain.asset_state import asset_text
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.state import PartitionState


def wanted_by(state: PartitionState, dag: DagState) -> dict[str, AssetUsed]:
    """What a DAG wants, by the name of the asset."""
    layout = state.layout_of(dag)
    if layout is None or dag.removed or dag.paused:
        return {}
    found: dict[str, AssetUsed] = {}
    for asset in layout.definition.assets:
        if asset.alias or not (asset.watchers or asset.has_stale_callback):
            continue
        here = state.here
        used = AssetUsed(dag_id=dag.dag_id, reply_topic=here.inbox, reply_partition=here.partition)
        used.watchers.extend(asset.watchers)
        if asset.HasField("freshness"):
            used.freshness.CopyFrom(asset.freshness)
        used.has_stale_callback = asset.has_stale_callback
        if any(watcher.needs_bundle for watcher in asset.watchers):
            used.bundle.CopyFrom(layout.definition.bundle)
        found[asset.name] = used
    return found


def tell(d: Decision, dag: DagState, before: dict[str, AssetUsed]) -> None:
    """Tells owners what has changed since it wanted `before`."""
    now = wanted_by(d.state, dag)
    for name, used in now.items():
        if before.get(name) != used:
            _send(d, AssetMessage(name=name, used=used))
    here = d.state.here
    for name in sorted(before.keys() - now.keys()):
        gone = AssetUnsubscribed(dag_id=dag.dag_id, reply_topic=here.inbox, reply_partition=here.partition)
        _send(d, AssetMessage(name=name, unused=gone))


def _send(d: Decision, message: AssetMessage) -> None:
    key = (False, message.name)
    d.send(d.state.asset_owner(key), asset_text(key), InboxMessage(asset=message))
