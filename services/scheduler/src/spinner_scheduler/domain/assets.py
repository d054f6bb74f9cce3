"""Assets: how an update reaches the DAGs that wait for it, whatever partition they are in, exactly once (B8).

Each asset, and each alias, has one owner partition by a hash of its name. The partition of a DAG that waits for it
subscribes at the owner when a version of the DAG becomes current. A task's success sends its updates to the owners;
an owner numbers them, records them, and delivers one message to each subscriber. Every step is a message that is
written in the transaction that consumed the one before, so each update arrives once and an asset's in its order.

A DAG keeps the updates that reached it until its condition holds; then one run consumes them all. While it is paused,
updates pass it by, as in Airflow.

Updates may be of a partition of the asset. Those count only for DAGs with a partitioned schedule, which has a run for
each partition key for which its condition holds (`partitions` maps keys), and only they count there. What a task
updates without saying which partition is of its run's own.
"""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import RunType, TaskKey
from spinner_proto.definitions.v1.definitions_pb2 import AssetExpression, AssetSchedule, DagDefinition
from spinner_proto.events.v1.events_pb2 import RunCreated, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import (
    AssetDelivered,
    AssetMessage,
    AssetSubscribed,
    AssetUnsubscribed,
    AssetUpdated,
    Command,
    InboxMessage,
)

from spinner_scheduler.domain import partitions, times
from spinner_scheduler.domain.asset_state import AssetKey, PartKey, asset_text
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.reasons import Code
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import create
from spinner_scheduler.domain.schedules import Tick

MAX_NAME = 1500
MAX_EXTRA_BYTES = 16_384
# What a run is told of what made it: its orders carry it.
MAX_RUN_UPDATES = 50
MAX_RUN_BYTES = 32_768


# -- conditions --------------------------------------------------------------------------------------------------


def condition(definition: DagDefinition) -> AssetExpression | None:
    """Returns what a DAG waits for, None when its schedule has no assets."""
    return definition.schedule.assets.expression if definition.schedule.HasField("assets") else None


def leaves(expression: AssetExpression | None) -> set[AssetKey]:
    """Returns the assets and aliases in a condition."""
    kind = expression.WhichOneof("kind") if expression is not None else None
    if expression is None or kind is None:
        return set()
    if kind == "asset":
        return {(False, expression.asset)}
    if kind == "alias":
        return {(True, expression.alias)}
    return set().union(*(leaves(item) for item in getattr(expression, kind).items))


def holds(expression: AssetExpression, updated: set[AssetKey]) -> bool:
    """Returns whether a condition holds when these were updated."""
    kind = expression.WhichOneof("kind")
    if kind == "asset":
        return (False, expression.asset) in updated
    if kind == "alias":
        return (True, expression.alias) in updated
    if kind is None:
        return False
    items = getattr(expression, kind).items
    return bool(items) and (all if kind == "all" else any)(holds(item, updated) for item in items)


def key_of(update: AssetUpdated) -> AssetKey:
    """Returns what a kept update counts for."""
    return (True, update.via_alias) if update.via_alias else (False, update.asset)


# -- the partitions of DAGs that wait ------------------------------------------------------------------------------


def subscribe(d: Decision, dag: DagState, before: set[AssetKey], now: set[AssetKey]) -> None:
    """Tells owners what a DAG waits for now, and what it does not any more."""
    for key in sorted(now):
        subscribed = AssetSubscribed(
            dag_id=dag.dag_id, reply_topic=d.state.here.inbox, reply_partition=d.state.here.partition
        )
        _send(d, key, AssetMessage(subscribed=subscribed))
    for key in sorted(before - now):
        _unsubscribe(d, dag.dag_id, key)


def wanted_by(d: Decision, dag: DagState) -> set[AssetKey]:
    """Returns what the DAG's current version waits for."""
    layout = d.state.layout_of(dag)
    return leaves(condition(layout.definition)) if layout is not None and not dag.removed else set()


def partitioned(layout: Layout) -> AssetSchedule | None:
    """Returns a DAG's schedule by partitions, if it has one."""
    schedule = layout.definition.schedule
    return schedule.assets if schedule.HasField("assets") and schedule.assets.partitioned else None


def missing_keys(schedule: AssetSchedule, asset: AssetKey, kept: dict[PartKey, AssetUpdated]) -> list[str] | None:
    """Returns which partitions of an asset a run still needs that these count for; None when it has none yet."""
    known = [key for kept_of, key in kept if kept_of == asset]
    if not known:
        return None
    try:
        needed = partitions.needed(schedule, asset[1], known[0])
    except (ValueError, KeyError):
        # Kept for an earlier version of the schedule.
        return None
    there = set(known)
    return [key for key in needed if key not in there]


def held(dag: DagState, layout: Layout, now: int, key: str = "") -> Code | None:
    """Returns what keeps the kept updates from making a run, also for a DAG whose schedule has no assets.

    Of a partitioned schedule `key` says which run.
    """
    expression = condition(layout.definition)
    if expression is None:
        return Code.NO_SCHEDULE
    end_date = times.from_timestamp(layout.definition.end_date)
    if end_date and now > end_date:
        return Code.END_DATE_PASSED
    schedule = partitioned(layout)
    if schedule is None:
        there = {key_of(update) for update in dag.updates}
    else:
        kept = dag.partitioned.get(key, {})
        there = {asset for asset, _ in kept if missing_keys(schedule, asset, kept) == []}
    if holds(expression, there):
        return None
    return Code.ASSET_PARTITION_PENDING if schedule is not None and key else Code.ASSETS_NOT_UPDATED


def changed(d: Decision, dag: DagState, layout: Layout) -> None:
    """Looks at what a DAG keeps with the eyes of a new version."""
    if dag.partitioned if partitioned(layout) is None else dag.updates:
        d.emit(dag.dag_id, "", lambda event: event.assets_consumed.SetInParent())
    for key in list(dag.partitioned) or [""]:
        consume(d, dag, layout, key)


def consume(d: Decision, dag: DagState, layout: Layout, key: str = "") -> None:
    """Makes a run of the kept updates, or of those for a partition key, if the DAG's condition holds."""
    kept = list(dag.partitioned.get(key, {}).values()) if key else dag.updates
    if dag.paused or dag.removed or not kept or held(dag, layout, d.now, key) is not None:
        return
    logical = d.now
    known = {entry[0] for entry in dag.by_date}
    while logical in known:
        logical += 1
    made = RunCreated(partition_key=key)
    made.asset_events.extend(_told(kept))
    run_id = f"asset__{times.text(logical)}"
    create(d, dag, layout, run_id, Tick(logical, logical, logical, d.now), int(RunType.RUN_TYPE_ASSET), made)

    def fill(event: WorkflowEvent) -> None:
        event.assets_consumed.run_id = run_id
        event.assets_consumed.partition_key = key

    d.emit(dag.dag_id, "", fill)


def _told(updates: list[AssetUpdated]) -> list[AssetUpdated]:
    told: list[AssetUpdated] = []
    room = MAX_RUN_BYTES
    for update in reversed(updates[-MAX_RUN_UPDATES:]):
        room -= update.ByteSize()
        if room < 0 and told:
            break
        told.append(update)
    return told[::-1]


def _delivered(d: Decision, key: AssetKey, delivered: AssetDelivered) -> None:
    dag = d.state.dags.get(delivered.dag_id)
    layout = d.state.layout_of(dag) if dag is not None else None
    if dag is None or layout is None or key not in wanted_by(d, dag):
        _unsubscribe(d, delivered.dag_id, key)
        return
    if dag.paused:
        return
    run_key, ignored = _counts_for(layout, key, delivered.update)

    def fill(event: WorkflowEvent) -> None:
        event.asset_received.update.CopyFrom(delivered.update)
        event.asset_received.update.run_partition_key = run_key
        event.asset_received.ignored_reason = ignored

    d.emit(dag.dag_id, "", fill)
    if not ignored:
        consume(d, dag, layout, run_key)


def _counts_for(layout: Layout, key: AssetKey, update: AssetUpdated) -> tuple[str, str]:
    """Returns the partition key of the run that an update counts for, and why it counts for none."""
    schedule = partitioned(layout)
    if schedule is None:
        told = "it is of a partition, and the DAG's schedule is not by partitions (PartitionedAssetTimetable)"
        return "", told if update.partition_key else ""
    if not update.partition_key:
        return "", "it is of no partition, and the DAG's schedule is by partitions"
    try:
        return partitions.run_key(schedule, key[1], update.partition_key), ""
    except (ValueError, KeyError) as error:
        return "", str(error)


def _unsubscribe(d: Decision, dag_id: str, key: AssetKey) -> None:
    here = d.state.here
    gone = AssetUnsubscribed(dag_id=dag_id, reply_topic=here.inbox, reply_partition=here.partition)
    _send(d, key, AssetMessage(unsubscribed=gone))


# -- the partitions of tasks that update ---------------------------------------------------------------------------


def published_by(d: Decision, run: Run, slot: int, said: list[AssetUpdated]) -> list[AssetUpdated]:
    """Sends the updates of a task that succeeded to the owners, and returns them.

    `said` is what its worker reported; an outlet that it said nothing of was updated too.
    """
    task = run.layout.tasks[run.position(slot)]
    found: list[AssetUpdated] = []
    for reported in said:
        if 0 < len(reported.asset) <= MAX_NAME:
            update = AssetUpdated(asset=reported.asset, aliases=reported.aliases)
            if len(reported.partition_key) <= partitions.MAX_KEY:
                update.partition_key = reported.partition_key
            if len(reported.extra_json) <= MAX_EXTRA_BYTES:
                update.extra_json = reported.extra_json
            found.append(update)
    named = {update.asset for update in found}
    found.extend(AssetUpdated(asset=name) for name in task.outlets if name not in named)
    for update in found:
        producer = TaskKey(dag_id=run.dag_id, run_id=run.run_id, task_id=task.task_id, map_index=run.map_index(slot))
        update.producer.CopyFrom(producer)
        update.partition_key = update.partition_key or run.facts.partition_key
        update.time.CopyFrom(d.time)
        to = d.state.asset_owner((False, update.asset))
        d.send(to, f"asset:{update.asset}", InboxMessage(asset_updated=update))
    return found


# -- owners --------------------------------------------------------------------------------------------------------


def updated(d: Decision, update: AssetUpdated) -> None:
    """Takes an update of an asset that this partition owns."""
    _record(d, (False, update.asset), update)
    for alias in update.aliases:
        _send(d, (True, alias), AssetMessage(published=update))


def create_by_hand(d: Decision, command: Command) -> None:
    """Takes an update that somebody made by hand, and accepts the command."""
    wish = command.create_asset_event
    update = AssetUpdated(asset=wish.asset, time=d.time, actor=command.actor)
    update.partition_key = wish.partition_key[: partitions.MAX_KEY]
    if len(wish.extra_json) <= MAX_EXTRA_BYTES:
        update.extra_json = wish.extra_json
    updated(d, update)

    def fill(event: WorkflowEvent) -> None:
        event.command_accepted.request_id = command.request_id
        event.command_accepted.actor.CopyFrom(command.actor)

    d.emit_asset((False, wish.asset), fill)


def handle(d: Decision, message: AssetMessage) -> None:
    """Takes a message of the protocol, as owner or as the partition of a DAG that waits."""
    key = (message.alias, message.name)
    kind = message.WhichOneof("kind")
    if kind == "delivered":
        _delivered(d, key, message.delivered)
    elif kind == "published":
        via = AssetUpdated()
        via.CopyFrom(message.published)
        via.via_alias = message.name
        _record(d, key, via)
    elif kind == "subscribed":
        if d.state.asset(key).subscribers.get(message.subscribed.dag_id) != message.subscribed:
            d.emit_asset(key, lambda event: event.asset_event.subscribed.CopyFrom(message.subscribed))
    elif kind == "unsubscribed":
        gone = message.unsubscribed
        kept = d.state.asset(key).subscribers.get(gone.dag_id)
        # A DAG that moved has subscribed from its new partition meanwhile.
        if kept is not None and (kept.reply_topic, kept.reply_partition) == (gone.reply_topic, gone.reply_partition):
            d.emit_asset(key, lambda event: event.asset_event.unsubscribed.CopyFrom(gone))


def _record(d: Decision, key: AssetKey, update: AssetUpdated) -> None:
    asset = d.state.asset(key)
    numbered = AssetUpdated()
    numbered.CopyFrom(update)
    if not key[0]:
        numbered.sequence = asset.last_sequence + 1
    d.emit_asset(key, lambda event: event.asset_event.updated.CopyFrom(numbered))
    for dag_id, subscriber in asset.subscribers.items():
        message = AssetMessage(alias=key[0], name=key[1], delivered=AssetDelivered(dag_id=dag_id, update=numbered))
        to = Address(subscriber.reply_topic, subscriber.reply_partition)
        d.send(to, dag_id, InboxMessage(asset=message))


def _send(d: Decision, key: AssetKey, message: AssetMessage) -> None:
    message.alias, message.name = key
    d.send(d.state.asset_owner(key), asset_text(key), InboxMessage(asset=message))
