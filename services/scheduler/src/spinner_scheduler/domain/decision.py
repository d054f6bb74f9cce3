"""What one decision writes, collected while it is made.

`emit` records an event and evolves the state by it at once, so that the rest of the decision sees its effect; what
live code does and what replay does are the same calls. Orders, execution records and messages are the decision's
effects; an order and its tombstone in one decision collapse to the tombstone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from spinner_proto.common.v1.common_pb2 import Actor, TryKey
from spinner_proto.definitions.v1.definitions_pb2 import TimetableRequest
from spinner_proto.events.v1.events_pb2 import (
    CallbackChanged,
    PoolEvent,
    TaskEnded,
    TaskStateChanged,
    WorkflowEvent,
    WorkflowEvents,
)
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.asset_state import AssetKey, asset_text
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.evolve import evolve
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import QUEUED, RUNNING, SCHEDULED

# Records are cut before they reach 512 KiB; sizes of single events are estimated.
MAX_RECORD_BYTES = 400_000


@dataclass(slots=True)
class Result:
    """What to write, in one transaction."""

    records: list[WorkflowEvents] = field(default_factory=list)
    # By try key as text; None is the tombstone.
    orders: dict[str, TaskOrder | None] = field(default_factory=dict)
    executions: list[JobExecutionRecord] = field(default_factory=list)
    # What is asked of custom timetables, by DAG id; None: nothing any more.
    timetables: dict[str, TimetableRequest | None] = field(default_factory=dict)
    messages: list[tuple[Address, str, InboxMessage]] = field(default_factory=list)
    # Inputs that could not be used, with the reason.
    refused: list[tuple[InboxMessage, str]] = field(default_factory=list)
    transitions: int = 0


class Decision:
    """One batch of inputs at one time. `state` evolves as the decision is made."""

    def __init__(self, state: PartitionState, now: int) -> None:
        self.state = state
        self.now = max(now, state.now)
        state.at(self.now)
        self.time = times.to_timestamp(self.now)
        self.result = Result()
        self._open: dict[tuple[str, str], list[WorkflowEvents | int]] = {}
        # Instances that came into a queue during this decision and have no SCHEDULED event yet.
        self.fresh: list[tuple[Run, int]] = []
        # Runs whose end may have come, DAGs whose facts may have changed.
        self.touched: dict[tuple[str, str], None] = {}
        self.dags: dict[str, None] = {}
        self.events = 0
        # DAGs whose queued runs were started.
        self.started = 0

    # -- events ------------------------------------------------------------------------------------------------

    def _event(self, dag_id: str, run_id: str, size: int) -> WorkflowEvent:
        found = self._open.get((dag_id, run_id))
        if found is None or found[1] + size > MAX_RECORD_BYTES:  # type: ignore[operator]
            record = WorkflowEvents(dag_id=dag_id, run_id=run_id if dag_id else "", time=self.time)
            self.result.records.append(record)
            found = self._open[(dag_id, run_id)] = [record, 0]
        found[1] += size  # type: ignore[operator]
        self.events += 1
        return found[0].events.add()  # type: ignore[union-attr]

    def emit(self, dag_id: str, run_id: str, fill: Callable[[WorkflowEvent], None]) -> None:
        """Records an event that `fill` fills, and evolves by it."""
        scratch = WorkflowEvent()
        fill(scratch)
        event = self._event(dag_id, run_id, scratch.ByteSize() + 8)
        event.CopyFrom(scratch)
        evolve(self.state, dag_id, run_id, event)
        if run_id:
            self.touched[(dag_id, run_id)] = None

    def emit_callback(self, key: TryKey, changed: CallbackChanged) -> None:
        """Records what became of a callback; its run may be gone, and is not touched."""
        changed.task_id = key.task_id.partition(".")[2]
        changed.map_index, changed.number = key.map_index, key.try_number
        event = self._event(key.dag_id, key.run_id, changed.ByteSize() + 8)
        event.callback_changed.CopyFrom(changed)
        evolve(self.state, key.dag_id, key.run_id, event)

    def emit_pool(self, pool: str, fill: Callable[[PoolEvent], None]) -> None:
        """Records an event of a pool that this partition owns."""
        scratch = WorkflowEvent()
        scratch.pool_event.pool = pool
        fill(scratch.pool_event)
        event = self._event("", pool, scratch.ByteSize() + 8)
        event.CopyFrom(scratch)
        evolve(self.state, "", "", event)

    def emit_asset(self, key: AssetKey, fill: Callable[[WorkflowEvent], None]) -> None:
        """Records an event of an asset or alias that this partition owns."""
        scratch = WorkflowEvent()
        fill(scratch)
        if scratch.HasField("asset_event"):
            scratch.asset_event.alias, scratch.asset_event.name = key
        event = self._event("", asset_text(key), scratch.ByteSize() + 8)
        event.CopyFrom(scratch)
        evolve(self.state, "", "", event)

    def task_state(
        self,
        run: Run,
        slot: int,
        new: int,
        *,
        try_number: int = 0,
        segment: int = 0,
        marked: bool = False,
        reason: str = "",
        actor: Actor | None = None,
        next_time: int = 0,
        fill: Callable[[TaskStateChanged], None] | None = None,
    ) -> None:
        """Records a task instance's new state."""
        layout = run.layout
        n = layout.n
        task_id = layout.task_ids[slot if slot < n else run.ext_pos[slot - n]]
        event = self._event(run.dag_id, run.run_id, len(task_id) + 64)
        changed = event.task_state_changed
        changed.task_id = task_id
        changed.map_index = -1 if slot < n else run.ext_index[slot - n]
        changed.state = new  # type: ignore[assignment]
        if try_number:
            changed.try_number = try_number
        if segment:
            changed.segment = segment
        if marked:
            changed.marked = True
        if reason:
            changed.reason = reason
        if actor is not None:
            changed.actor.CopyFrom(actor)
        if next_time:
            changed.next_time.CopyFrom(times.to_timestamp(next_time))
        if fill is not None:
            fill(changed)
        evolve(self.state, run.dag_id, run.run_id, event)
        self.result.transitions += 1
        self.touched[(run.dag_id, run.run_id)] = None

    def task_ended(self, run: Run, ended: TaskEnded) -> None:
        """Records the end of a try."""
        event = self._event(run.dag_id, run.run_id, ended.ByteSize() + 16)
        event.task_ended.CopyFrom(ended)
        evolve(self.state, run.dag_id, run.run_id, event)
        self.result.transitions += 1
        self.touched[(run.dag_id, run.run_id)] = None

    # -- effects -----------------------------------------------------------------------------------------------

    def order(self, order: TaskOrder) -> None:
        self.result.orders[order_key(order.try_key)] = order

    def tombstone(self, try_key: TryKey) -> None:
        self.result.orders[order_key(try_key)] = None

    def send(self, to: Address, key: str, message: InboxMessage) -> None:
        self.result.messages.append((to, key, message))

    # -- helpers -----------------------------------------------------------------------------------------------

    def want(self, run: Run, slot: int) -> None:
        """Puts an instance into its queue; it gets SCHEDULED unless it is ordered in this decision."""
        if slot not in run.wanted:
            self.state.want(run, slot)
            self.fresh.append((run, slot))

    def settle_fresh(self) -> None:
        """Gives those that must wait their SCHEDULED event."""
        fresh, self.fresh = self.fresh, []
        for run, slot in fresh:
            if slot in run.wanted and run.states[slot] not in (SCHEDULED, QUEUED, RUNNING):
                self.task_state(run, slot, SCHEDULED, try_number=run.tries[slot] + 1)

    def dag_changed(self, dag: DagState) -> None:
        self.dags[dag.dag_id] = None
        if dag.queued or dag.backfill_runs:
            self.state.promotable[dag.dag_id] = None

    @property
    def full(self) -> bool:
        """Whether what need not be decided now should wait for the next decision."""
        return self.events >= self.state.limits.decision_events


def order_key(key: TryKey) -> str:
    """Returns a try key as text: the key of its order."""
    return f"{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"
