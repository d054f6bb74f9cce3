"""A scheduler partition as the state machine that `spinner_eventlog.loop` drives.

Each `handle` decides a whole batch in memory and returns one transaction: events, orders, execution records, messages
to other inboxes, snapshots.

A snapshot says up to which offset it covers its entity's events, so it is taken only of entities without events in
transactions that are not committed yet: the loop decides ahead. They are written when changes are some seconds old, and
sooner when the next owner would have to read many records; a few with each transaction, so that they never hold up
decisions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from spinner_eventlog import topics
from spinner_eventlog.dead_letter import dead_letter
from spinner_eventlog.interface import EventLog, Outgoing, Record, Transient
from spinner_proto.events.v1.events_pb2 import ClearPlan, WorkflowEvents
from spinner_proto.explain.v1.explain_pb2 import Explanation, Subject
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks, InboxMessage
from spinner_proto.scheduler.v1.scheduler_pb2 import PartitionOwner

from spinner_scheduler.adapters import metrics, recovery
from spinner_scheduler.adapters.definitions import Definitions
from spinner_scheduler.adapters.standby import Standby
from spinner_scheduler.domain import times
from spinner_scheduler.domain.commands import preview_clear
from spinner_scheduler.domain.core import Result, decide
from spinner_scheduler.domain.explain import explain, explain_pool
from spinner_scheduler.domain.layout import SPARE_TASKS, Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

logger = logging.getLogger("spinner_scheduler.machine")

# While nothing comes in, snapshots are written this much more often, and as much fewer with each transaction: what
# comes meanwhile waits some milliseconds.
_IDLE_SHARE = 4
_IDLE_PAUSE = timedelta(milliseconds=10)

# The partition's own snapshot holds thousands of request ids, so it is not written with each batch.
_PARTITION_PAUSE = timedelta(seconds=1)

EXECUTIONS_TOPIC = "workflow_job_executions"
OWNERS_TOPIC = "partition_owners"
TIMETABLES_TOPIC = "timetable_requests"
# How long a question waits for the decision in work.
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How a partition works, whatever its number."""

    cluster: str = "spinner"
    tiers: tuple[int, ...] = (1, 2, 3)
    limits: Limits = field(default_factory=Limits)
    snapshot_seconds: float = 5.0
    snapshot_batch: int = 200
    # Records of events that the next owner has to read at most, about.
    replay_records: int = 20_000
    definition_wait_seconds: float = 5.0
    compiled_tasks: int = SPARE_TASKS
    # How long a decision after a restart may wait for runs that are being decoded; a DAG's are decoded at least.
    rouse_seconds: float = 0.01


def new_state(log: EventLog, definitions: Definitions, policy: Policy, tier: int, partition: int) -> PartitionState:
    """Returns the empty state of a partition."""
    return PartitionState(
        Layouts(definitions.get, policy.compiled_tasks),
        Address(topics.inbox_topic(policy.cluster, tier), partition),
        cluster=policy.cluster,
        tiers=policy.tiers,
        pool_partitions=log.partition_count(topics.inbox_topic(policy.cluster, min(policy.tiers))),
        limits=policy.limits,
    )


class SchedulerMachine:
    """One ownership of one partition. Used by one thread; others may read `state` for figures, and ask `explain`.

    `address`: where its process answers gRPC; the first transaction says so in `partition_owners`. Empty: nobody asks.
    """

    def __init__(
        self,
        log: EventLog,
        definitions: Definitions,
        policy: Policy,
        tier: int,
        partition: int,
        address: str = "",
        standby: Standby | None = None,
    ) -> None:
        self._log = log
        self._address = address
        self._announced = not address
        # Held while the state changes.
        self._deciding = threading.Lock()
        self._definitions = definitions
        self._policy = policy
        self._inbox = topics.inbox_topic(policy.cluster, tier)
        self._events_topic = topics.events_topic(policy.cluster, tier)
        self._snapshots_topic = topics.snapshots_topic(policy.cluster, tier)
        self._orders_topic = topics.orders_topic(policy.cluster)
        self._partition = partition
        self.name = f"{topics.cell(policy.cluster, tier)}_{partition}"
        self._standby = standby
        # Whether a standby of this process gave it its memory.
        self.warm = False
        self._place = (tier, partition)
        self.state = new_state(log, definitions, policy, tier, partition)
        # Where the next event will be at the least, and entities that changed since their snapshot.
        self._next_offset = 0
        self._unsaved: dict[str, int] = {}
        self._save_from: datetime | None = None
        self._partition_saved_at: datetime | None = None
        # The entities of each decision's event records, in order, while those are not durable.
        self._flights: deque[list[str]] = deque()
        self._metrics = metrics.of_partition(self.name)

    # -- StateMachine ------------------------------------------------------------------------------------------

    def restore(self) -> None:
        started = time.perf_counter()
        follower = self._standby.take(*self._place) if self._standby is not None else None
        if follower is None:
            restored = recovery.restore(
                self.state,
                self._log,
                self._snapshots_topic,
                self._events_topic,
                self._partition,
                partial(self._definitions.wait_for, seconds=self._policy.definition_wait_seconds),
            )
        else:
            self.warm = True
            self.state, restored = follower.state, follower.restored
            recovery.catch_up(self.state, self._log, self._events_topic, self._partition, restored)
        self._next_offset = restored.next_offset
        # Oldest first: a standby learns of snapshots in any order.
        self._unsaved = dict(sorted(restored.unsaved.items(), key=lambda item: item[1]))
        logger.info(
            "%s %s: %d DAGs, %d live runs, %d snapshots, %d events, %.3f s",
            "restored" if follower is None else "took over",
            self.name,
            len(self.state.dags),
            self.state.live_runs,
            restored.snapshots,
            restored.events,
            time.perf_counter() - started,
        )

    def handle(self, records: Sequence[Record], now: datetime) -> list[Outgoing]:
        started = time.perf_counter()
        saved = self._snapshots(now, idle=not records)
        messages = [record.decode(InboxMessage) for record in records]
        for message in messages:
            self._await_definition(message)
        with self._deciding:
            if self.state.asleep:
                self.state.rouse(lambda: time.perf_counter() - started > self._policy.rouse_seconds)
            result = decide(self.state, messages, times.from_datetime(now))
        outgoing, written = self._outgoing(result)
        outgoing.extend(saved)
        if not self._announced:
            self._announced = True
            owner = PartitionOwner(name=self.name, address=self._address)
            owner.time.FromDatetime(now)
            outgoing.append(Outgoing(OWNERS_TOPIC, self.name, owner))
        refused = {id(message): reason for message, reason in result.refused}
        if refused:
            outgoing.extend(
                dead_letter(record, refused[id(message)])
                for record, message in zip(records, messages, strict=True)
                if id(message) in refused
            )
        if records or outgoing:
            self._flights.append(written)
        self._metrics.note(len(messages), result, self.state, time.perf_counter() - started)
        return outgoing

    def committed(self, offsets: Sequence[int]) -> None:
        written = self._flights.popleft()
        for entity, offset in zip(written, offsets, strict=False):
            self._unsaved.setdefault(entity, offset)
        if written:
            self._next_offset = offsets[len(written) - 1] + 1

    def needs_quiet(self) -> bool:
        """A run whose events are always in flight would never be saved."""
        return bool(self._flights) and self._unread() > 2 * self._policy.replay_records

    def next_due(self) -> datetime | None:
        if self.state.unsettled or not self._announced:
            return times.to_datetime(self.state.now)
        due = self.state.timers.next_due()
        at = times.to_datetime(due) if due else None
        if self._unsaved or self.state.dropped:
            pause = timedelta(seconds=self._policy.snapshot_seconds)
            save = self._save_from or times.to_datetime(self.state.now) + pause
            at = save if at is None else min(at, save)
        return at

    # -- questions -----------------------------------------------------------------------------------------------

    def explain(self, subject: Subject, pool: str, now: datetime) -> Explanation:
        """What a subject, or who asks for a pool, waits for. Thread-safe; blocks while a batch is decided.

        Raises UnknownError, and Transient when the decision takes longer than is waited for.
        """
        with self._between_decisions():
            at = times.from_datetime(now)
            return explain_pool(self.state, pool, at) if pool else explain(self.state, subject, at)

    def preview_clear(self, dag_id: str, wish: ClearTasks, most: int) -> ClearPlan:
        """What a clear would do now, with the first `most` tasks. Thread-safe; blocks while a batch is decided.

        Raises Rejected as the command would be refused, and Transient as `explain` does.
        """
        with self._between_decisions():
            return preview_clear(self.state, dag_id, wish, most)

    @contextmanager
    def _between_decisions(self) -> Iterator[None]:
        if not self._deciding.acquire(timeout=_PATIENCE_SECONDS):
            raise Transient(f"partition {self.name} has been deciding for more than {_PATIENCE_SECONDS:.0f} s")
        try:
            yield
        finally:
            self._deciding.release()

    # -- parts ---------------------------------------------------------------------------------------------------

    def _await_definition(self, message: InboxMessage) -> None:
        """An announced version may be a moment behind its announcement: another topic, another partition."""
        kind = message.WhichOneof("kind")
        if kind == "definition_published":
            dag_id, version = message.definition_published.dag_id, message.definition_published.version
        elif kind == "task_report" and message.task_report.WhichOneof("kind") == "layout_computed":
            dag_id, version = message.task_report.try_key.dag_id, message.task_report.layout_computed.version
        else:
            return
        if not self._definitions.wait_for(dag_id, version, self._policy.definition_wait_seconds):
            logger.warning("definition %s@%s was announced but is not in workflow_definitions", dag_id, version)

    def _outgoing(self, result: Result) -> tuple[list[Outgoing], list[str]]:
        """Returns what to write, event records first, and the entities of those."""
        outgoing: list[Outgoing] = []
        written: list[str] = []
        for record in result.records:
            written.append(recovery.entity_of(record))
            outgoing.append(Outgoing(self._events_topic, _key_of(record), record, self._partition))
        outgoing.extend(Outgoing(self._orders_topic, key, order) for key, order in result.orders.items())
        outgoing.extend(
            Outgoing(EXECUTIONS_TOPIC, execution.workflow_name, execution) for execution in result.executions
        )
        outgoing.extend(Outgoing(TIMETABLES_TOPIC, dag_id, asked) for dag_id, asked in result.timetables.items())
        outgoing.extend(Outgoing(to.inbox, key, message, to.partition) for to, key, message in result.messages)
        return outgoing, written

    def _unread(self) -> int:
        """How many records the next owner would have to read."""
        return self._next_offset - next(iter(self._unsaved.values()), self._next_offset)

    def _snapshots(self, now: datetime, idle: bool) -> list[Outgoing]:
        pause = timedelta(seconds=self._policy.snapshot_seconds)
        if self._save_from is None:
            self._save_from = now + pause
        if not self._unsaved and not self.state.dropped:
            self._save_from = now + pause
            return []
        if now < self._save_from and self._unread() <= self._policy.replay_records:
            return []
        in_flight = {entity for written in self._flights for entity in written}
        most = max(1, self._policy.snapshot_batch // (_IDLE_SHARE if idle else 1))
        chosen = list(islice((e for e in self._unsaved if e not in in_flight), most))
        outgoing: list[Outgoing] = []
        for entity in chosen:
            del self._unsaved[entity]
            snapshot = recovery.take_snapshot(self.state, entity, self._next_offset)
            outgoing.append(Outgoing(self._snapshots_topic, entity, snapshot, self._partition))
        for dag_id, run_id in self.state.dropped:
            entity = f"run:{dag_id}/{run_id}"
            self._unsaved.pop(entity, None)
            outgoing.append(Outgoing(self._snapshots_topic, entity, None, self._partition))
        self.state.dropped.clear()
        if now >= self._save_from:
            # What one batch could not hold follows soon.
            self._save_from = now + (pause if not self._unsaved else min(_IDLE_PAUSE, pause) if idle else pause / 20)
        at = self._partition_saved_at
        if at is None or not self._unsaved or now - at >= _PARTITION_PAUSE:
            self._partition_saved_at = now
            start = next(iter(self._unsaved.values()), self._next_offset)
            key = f"partition:{self._partition}"
            snapshot = recovery.partition_snapshot(self.state, start)
            outgoing.append(Outgoing(self._snapshots_topic, key, snapshot, self._partition))
        return outgoing


def _key_of(record: WorkflowEvents) -> str:
    if record.run_id:
        return f"{record.dag_id}/{record.run_id}"
    return record.dag_id or recovery.entity_of(record).removeprefix("pool:")
