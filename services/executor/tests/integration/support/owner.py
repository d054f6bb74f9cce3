"""The scheduler partition that owns an asset: the real core between the stage's inbox and its orders."""

from __future__ import annotations

import json
import time
from collections import Counter

import psutil
from spinner.core.assets import Asset, AssetWatcher
from spinner.triggers import BaseEventTrigger
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1.common_pb2 import BundleRef
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WatcherChanged, WatcherState
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState
from stage import Stage, until

INBOX = "scheduler_inbox-spinner_tier_1"


def triggerers(executor_pid: int) -> list[psutil.Process]:
    """The triggerer processes of an executor."""
    found = []
    for child in psutil.Process(executor_pid).children():
        try:
            if any("triggerer" in part for part in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


class Owner:
    """Decides on what executors report. `counted`: payloads of the asset's events; `states`: of the watcher."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.definitions: dict[tuple[str, str], DagDefinition] = {}
        layouts = Layouts(lambda dag_id, version: self.definitions.get((dag_id, version)))
        self.state = PartitionState(layouts, Address(INBOX, 0))
        self.counted: list[object] = []
        self.ids: Counter[str] = Counter()
        self.states: list[WatcherChanged] = []
        self.orders: dict[str, TaskOrder] = {}

    def take(self, *messages: InboxMessage) -> None:
        pending = list(messages)
        while pending:
            result = decide(self.state, pending, time.time_ns() // 1000)
            pending = [message for _, _, message in result.messages]
            for key, order in result.orders.items():
                self.stage.producer.send(Outgoing("task_orders-spinner", key, order))
                if order is None:
                    self.orders.pop(key, None)
                else:
                    self.orders[key] = order
            self.stage.producer.flush()
            for event in (event for record in result.records for event in record.events):
                if not event.HasField("asset_event"):
                    continue
                if event.asset_event.HasField("updated"):
                    self.counted.append(json.loads(event.asset_event.updated.extra_json)["payload"])
                    self.ids[event.asset_event.updated.event_id] += 1
                elif event.asset_event.HasField("watcher_changed"):
                    self.states.append(event.asset_event.watcher_changed)

    def turn(self) -> None:
        """Takes what has arrived in the inbox."""
        records = self.stage.reader.poll(1000, 0.05)
        messages = [record.decode(InboxMessage) for record in records]
        if messages:
            self.take(*messages)

    def until(self, condition: object, what: str, seconds: float = 60.0) -> None:
        def holds() -> object:
            self.turn()
            return condition()  # type: ignore[operator]

        try:
            until(holds, what, seconds)
        except AssertionError as error:
            states = [(told.state, told.error) for told in self.states[-5:]]
            raise AssertionError(f"{error}: {len(self.counted)} counted, states {states}") from None

    def watch(self, trigger: BaseEventTrigger, version: str = "v1", bundle: BundleRef | None = None) -> None:
        """Publishes a DAG that waits for an asset with this watcher."""
        from spinner.serialization.definition import _watcher

        made = DagDefinition(dag_id="use", version=version, max_active_runs=1)
        made.placement.cluster, made.placement.tier = "spinner", 1
        made.schedule.assets.expression.asset = "a"
        made.tasks.add(task_id="use", inline_success=True)
        asset = Asset("a", watchers=[AssetWatcher("w", trigger=trigger)])
        made.assets.add(name="a", uri="a", watchers=map(_watcher, asset.watchers))
        if bundle is not None:
            made.bundle.CopyFrom(bundle)
        self.definitions[("use", version)] = made
        self.take(InboxMessage(definition_published=DefinitionPublished(dag_id="use", version=version)))

    def pause(self, paused: bool) -> None:
        command = Command(request_id=f"pause {time.time_ns()}", dag_id="use", set_paused={"paused": paused})
        self.take(InboxMessage(command=command))

    def runs(self, mark: int = 0) -> bool:
        """Whether the watcher was said to run since `mark` states."""
        return any(told.state == WatcherState.WATCHER_STATE_RUNNING for told in self.states[mark:])

    def cursor(self) -> str:
        (order,) = self.orders.values()
        return order.trigger_cursor
