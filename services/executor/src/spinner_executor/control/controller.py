"""The controller: keeps the actual state of tries at what `task_orders` desires.

Everything here runs on one event loop, so nothing is locked. Orders, worker exits, worker calls and acknowledgements
change a try's situation; each change ends in `_reconcile`, which performs the domain's one next action. A partition's
tries exist only while it is owned; giving it up forgets them without touching their workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from spinner_eventlog.interface import TransactionalProducer
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import TaskLaunched
from spinner_proto.orders.v1.orders_pb2 import OrderKind, TaskGrant, TaskOrder

from spinner_executor.adapters.backend import Launch, LaunchFailed, Unproven
from spinner_executor.adapters.journal import Journal
from spinner_executor.adapters.logs import TryLog
from spinner_executor.adapters.runs import RunsView
from spinner_executor.control import trylogs
from spinner_executor.control.context import Context
from spinner_executor.control.ends import Ends, is_final
from spinner_executor.control.leaving import Leaving
from spinner_executor.control.ownership import Ownership
from spinner_executor.control.tries import Try
from spinner_executor.control.triggers import Triggers
from spinner_executor.domain import keys, resources
from spinner_executor.domain.clock import datetime_of
from spinner_executor.domain.masking import Masker
from spinner_executor.domain.model import (
    SEQUENCE_LAUNCHED,
    Desired,
    Exit,
    Restored,
    Situation,
    WorkerState,
    desired_of,
)
from spinner_executor.domain.prediction import Memory
from spinner_executor.domain.reconcile import Action, reconcile
from spinner_executor.domain.slots import Slots

_log = logging.getLogger(__name__)
# A worker that takes longer to start is told of; pods take some seconds.
_SLOW_LAUNCH_SECONDS, _SLOW_POD_SECONDS = 1.0, 3.0
# A worker that has no grant runs no user code, and may take its time on a busy node.
_UNSTARTED_PATIENCE = 6
_TICK_SECONDS = 1.0
_EVICT_SECONDS = 60.0
BEGINNERS_PER_CORE = 2


class NotAllowed(Exception):  # noqa: N818 - an answer
    """A worker's token is stale or unknown: it must kill itself."""


class NotOwner(Exception):  # noqa: N818 - an answer
    """Only another executor, or this one a moment later, may say whether a token is stale."""


@dataclass(slots=True)
class _Opening:
    producer: TransactionalProducer
    changes: list[tuple[str, TaskOrder | None, str]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Controller:
    """See the module.

    `address_of(partition)` is where workers reach this executor.
    """

    def __init__(
        self,
        context: Context,
        address_of: Callable[[int], str],
        runs: RunsView,
    ) -> None:
        self.context = context
        self.settings = context.settings
        self.backend = context.backend
        self.tries: dict[str, Try] = {}
        limit = context.settings.executor_parallelism or context.backend.parallelism
        beginners = context.settings.executor_beginners or BEGINNERS_PER_CORE * (os.cpu_count() or 1)
        self.slots = Slots(limit, context.settings.executor_memory, beginners if context.backend.starts_at_once else 0)
        self.ownership = Ownership(context, self._fenced)
        self.triggers = Triggers(context, runs)
        self.ends = Ends(context, self.ownership.grant, self.triggers.stop, self.reconcile, self._settled)
        self.leaving = Leaving(context, self.ends.uploads, lambda key: key in self.tries)
        self.on_partition: Callable[[int, bool], None] = lambda _partition, _owned: None
        # Told of a partition that another owner fenced, or that the broker gave up on after a long silence.
        self.on_fenced: Callable[[int], None] = lambda _partition: None
        self._address_of = address_of
        self._by_worker: dict[str, Try] = {}
        # The slot that each living worker holds, also of a segment that is over.
        self._held: dict[str, str] = {}
        # Changes of orders that came while a partition's workers were being found, by partition.
        self._opening: dict[int, _Opening] = {}
        self._loop = context.loop
        self._last_tick = self._loop.time()

    # What the feed of orders tells (adapters.orders.Owner).

    def assigned(self, restored: Restored, producer: TransactionalProducer) -> None:
        """The fenced owner of a partition finds its workers first; until then its tries are nobody's to answer for."""
        partition = restored.partition
        self.revoked(partition)
        opening = _Opening(producer)
        self._opening[partition] = opening
        opening.task = self.context.spawn(self._open(restored, opening))

    async def _open(self, restored: Restored, opening: _Opening) -> None:
        partition = restored.partition
        await self.backend.open(partition)
        if self._opening.get(partition) is not opening:
            return
        del self._opening[partition]
        still_held = [grant for key, grant in restored.grants.items() if key in restored.orders]
        self.ownership.take(partition, opening.producer, still_held)
        self.on_partition(partition, True)
        for key, order in restored.orders.items():
            self._adopt(key, order, restored.traceparents.get(key, ""), partition, restored.grants.get(key))
        for key in restored.grants.keys() - restored.orders.keys():
            self.ownership.forget(partition, key)
        for key in list(self.ownership.keys(partition)):
            self._reconcile_key(key)
        for key in self.backend.sweep(partition, restored.orders.keys()):
            self._save_left(key, partition)
        self.ordered(partition, opening.changes)

    def _fenced(self, partition: int) -> None:
        self.revoked(partition)
        self.on_fenced(partition)

    def revoked(self, partition: int) -> None:
        opening = self._opening.pop(partition, None)
        if opening is not None:
            if opening.task is not None:
                opening.task.cancel()
            self.backend.release(partition)
            self.context.spawn(asyncio.to_thread(opening.producer.close))
        keys_of_tries = self.ownership.keys(partition)
        grants = self.ownership.give_up(partition)
        if grants is None:
            return
        for key in keys_of_tries:
            self._drop(self.tries.pop(key))
        self.backend.release(partition)
        self.on_partition(partition, False)
        self.context.spawn(asyncio.to_thread(grants.close))
        self._refresh_gauges()

    def ordered(self, partition: int, changes: Sequence[tuple[str, TaskOrder | None, str]]) -> None:
        if (opening := self._opening.get(partition)) is not None:
            opening.changes.extend(changes)
        if partition not in self.ownership:
            return
        # Nobody waits for the end of what is over: that comes after the launches.
        over: dict[str, Try] = {}
        for key, order, traceparent in changes:
            self.context.metrics.orders.inc()
            tried = self.tries.get(key)
            if order is None:
                if tried is not None:
                    tried.situation.desired = Desired.ABSENT
                    over[key] = tried
                continue
            if key in over:
                self.reconcile(over.pop(key))
                tried = None
            if tried is None:
                tried = self._new_try(key, order, traceparent, partition)
            elif order.segment < tried.order.segment:
                continue
            else:
                tried.order, tried.traceparent = order, traceparent
                tried.situation.desired, tried.situation.segment = desired_of(order), order.segment
                self.triggers.heard_of(tried)
            self.reconcile(tried)
        self._loop.call_soon(self._end_all, list(over.values()))
        self._refresh_gauges()

    def _end_all(self, over: Sequence[Try]) -> None:
        for tried in over:
            self.reconcile(tried)

    # Tries.

    def _new_try(self, key: str, order: TaskOrder, traceparent: str, partition: int) -> Try:
        tried = self.tries[key] = self._try(key, order, traceparent, partition)
        self.ownership.keys(partition).add(key)
        return tried

    def _try(self, key: str, order: TaskOrder, traceparent: str, partition: int) -> Try:
        path = self.backend.log_path(key)
        topic = f"task_logs-{self.settings.cluster}" if self.settings.log_topic else ""
        log = TryLog(path, key, order.try_key, topic, Masker(), self.settings.log_bounds)
        situation = Situation(desired_of(order), order.segment)
        return Try(key, partition, order, situation, log, Journal(path.parent, self.context.cipher), traceparent)

    def _save_left(self, key: str, partition: int) -> None:
        """A try that is over, whose log an earlier owner may not have uploaded."""
        tried = self._try(key, TaskOrder(try_key=keys.try_key_of(key)), "", partition)
        tried.removed = True
        trylogs.restore_secrets(self.context, tried, None)
        self.ends.uploads.promise(tried)
        self.ends.uploads.start(tried)
        self.leaving.leave(tried)

    def find(self, key: str) -> Try | None:
        """A try that is known here, if only until its log is in the object store."""
        return self.tries.get(key) or self.leaving.get(key)

    def _adopt(self, key: str, order: TaskOrder, traceparent: str, partition: int, grant: TaskGrant | None) -> None:
        tried = self._new_try(key, order, traceparent, partition)
        s = tried.situation
        if grant is not None:
            s.granted_segment, s.granted_worker = grant.segment, grant.worker
        trylogs.restore_secrets(self.context, tried, grant)
        granted = s.granted_worker if s.granted_segment == order.segment else ""
        observed = self.backend.observe(key, order, granted)
        if observed.state is WorkerState.FOREIGN:
            s.worker_state = WorkerState.FOREIGN
        elif observed.state is not WorkerState.NONE:
            s.worker_state, s.worker_segment, s.exit = observed.state, observed.segment, observed.exit
            tried.worker, tried.token, tried.starting = observed.worker, observed.token, observed.starting
            tried.heard = self._loop.time()
            tried.configured_memory = configured_memory(order)
            tried.memory = tried.journal.memory() or tried.configured_memory
            if grant is not None and s.granted_worker == observed.worker:
                tried.started_time = datetime_of(grant.time)
            if observed.state is WorkerState.ALIVE:
                self._by_worker[observed.worker] = tried
                self._held[observed.worker] = slot_name(key, observed.segment)
                self.slots.take(self._held[observed.worker], tried.memory.request)
                self.context.metrics.adopted.inc()
        tried.end = self.ends.restored(tried, grant)
        if tried.end is not None:
            s.ended_segment, s.end_is_final = tried.end.segment, is_final(tried.end)
            if s.end_is_final and self.backend.shares_files and not tried.journal.saved:
                self.ends.uploads.promise(tried)
                self.ends.uploads.start(tried)

    def _drop(self, tried: Try) -> None:
        """Forgets a try without touching its worker."""
        tried.removed = True
        if tried.worker:
            self._by_worker.pop(tried.worker, None)
        for timer in (tried.lease_timer, tried.kill_timer):
            if timer is not None:
                timer.cancel()
        self.triggers.stop(tried.key)
        slot = self._held.pop(tried.worker, slot_name(tried.key, tried.situation.segment))
        self._release(slot)

    def _reconcile_key(self, key: str) -> None:
        tried = self.tries.get(key)
        if tried is not None:
            self.reconcile(tried)

    def reconcile(self, tried: Try) -> None:
        """Performs the next action for a try. Call after each change of its situation."""
        if tried.removed:
            return
        action = reconcile(tried.situation)
        if action is Action.LAUNCH:
            self._launch(tried)
        elif action is Action.REMOVE:
            self._remove(tried)
        elif action is Action.KILL:
            self.kill(tried)
        elif action is Action.START_TRIGGER:
            tried.situation.trigger_segment = tried.order.segment
            self.backend.retire(tried.key, tried.order.segment)
            self.triggers.start(tried)
        elif action is Action.AWAIT_LEASE:
            if tried.lease_timer is None:
                wait = self.settings.lost_after_seconds
                tried.lease_timer = self._loop.call_later(wait, self.ends.declare_lost, tried, "its executor is gone")
        elif action is not Action.NOTHING:
            self.ends.perform(tried, action)

    def _memory(self, tried: Try) -> Memory:
        """What the next worker of a try gets."""
        tried.configured_memory = configured_memory(tried.order)
        if tried.order.kind != OrderKind.ORDER_KIND_TASK:
            return tried.configured_memory
        key = tried.order.try_key
        return self.context.usage.memory(key.dag_id, key.task_id, tried.configured_memory)

    def _launch(self, tried: Try) -> None:
        s, order = tried.situation, tried.order
        slot = slot_name(tried.key, s.segment)
        memory = self._memory(tried)
        if not self.slots.ask(slot, order.priority, memory.request):
            return
        now = datetime.now(UTC)
        s.worker_state, s.worker_segment, s.exit, s.killing = WorkerState.LAUNCHING, s.segment, None, False
        s.end_reported = False
        granted = s.granted_segment == s.segment
        if tried.worker:
            self._by_worker.pop(tried.worker, None)
        tried.worker = s.granted_worker if granted else self.backend.worker_name(order, tried.key)
        tried.token = self.backend.token(tried.worker, tried.partition)
        tried.starting, tried.granting = not self.backend.starts_at_once, None
        tried.launched_time, tried.started_time, tried.heard = now, None, self._loop.time()
        if not self.backend.shares_files:
            tried.log.begin_worker()
        tried.memory = memory
        if memory != tried.configured_memory and not self.backend.shares_files:
            tried.journal.store_memory(memory)
        tried.end, tried.end_done = None, None
        earlier = self._by_worker.get(tried.worker)
        if earlier is not None and earlier.kill_timer is not None:
            # The try is ordered anew under the same name, and the back end removes the earlier worker first.
            earlier.kill_timer.cancel()
        self._by_worker[tried.worker] = tried
        self._held[tried.worker] = slot
        self.context.metrics.launches.inc()
        launch = Launch(
            tried.key, s.segment, tried.worker, tried.token, self._address_of(tried.partition), tried.partition, order,
            memory.request, memory.limit, resources.environment(order.resources_json), self._dag_file(order),
        )  # fmt: skip
        try:
            resources.memory_of(order.resources_json)
            exists = self.backend.launch(launch)
        except resources.InvalidResources as error:
            exists = _impossible(str(error))
        self.context.spawn(self._launched(tried, launch, exists))
        if not granted and self.backend.starts_at_once:
            self.ownership.grant(tried)
        if (
            order.HasField("bundle")
            and self.backend.starts_at_once
            and self.context.bundles.path_now(order.bundle) is None
        ):
            tried.bundle = self.context.spawn(self.context.bundles.path(order.bundle))
        if s.segment == 0 and order.try_key.try_number > 1 and order.kind == OrderKind.ORDER_KIND_TASK:
            key = order.try_key
            prefix = keys.xcom_prefix(key.dag_id, key.run_id, key.task_id, key.map_index)
            tried.xcoms_cleared = self._loop.run_in_executor(
                self.context.pool, self.context.objects.delete_prefix, prefix
            )

    def _dag_file(self, order: TaskOrder) -> tuple[str, str] | None:
        """Where the file is that the worker will read, when its bundle is here already."""
        root = self.context.bundles.path_now(order.bundle) if order.HasField("bundle") else None
        if root is None or not order.relative_path or order.runtime not in ("", "spinner"):
            return None
        return str(root), order.relative_path

    async def _launched(self, tried: Try, launch: Launch, exists: Awaitable[None]) -> None:
        try:
            await exists
        except LaunchFailed as error:
            told = Exit(launch_error=str(error))
            if error.outcome != Outcome.OUTCOME_LAUNCH_FAILED:
                told = Exit(outcome=error.outcome, message=str(error))
            self._not_launched(tried, launch, told)
            return
        if tried.worker == launch.worker and tried.situation.worker_state is WorkerState.LAUNCHING:
            tried.situation.worker_state = WorkerState.ALIVE
            slow = _SLOW_LAUNCH_SECONDS if self.backend.starts_at_once else _SLOW_POD_SECONDS
            tried.lease_timer = self._loop.call_later(slow, self._report_launched, tried, launch.worker)

    def _not_launched(self, tried: Try, launch: Launch, why: Exit) -> None:
        if self._by_worker.get(launch.worker) is tried:  # otherwise its partition was given up meanwhile
            self.exited(tried.key, launch.worker, why)

    def _report_launched(self, tried: Try, worker: str) -> None:
        tried.lease_timer = None
        s = tried.situation
        if tried.worker == worker:
            self._settled(tried)
        if not tried.removed and tried.worker == worker and tried.started_time is None and s.ended_segment < s.segment:
            report = self.context.report_of(tried, SEQUENCE_LAUNCHED)
            report.launched.CopyFrom(TaskLaunched())
            self.context.spawn(self.context.reporter.report(tried.order, report, tried.traceparent))

    def kill(self, tried: Try) -> None:
        """SIGTERM to the worker now, SIGKILL to its process tree after the grace period."""
        tried.situation.killing = True
        worker, grace = tried.worker, self._grace_seconds(tried)
        self.backend.stop(tried.key, worker, False, grace)

        def force() -> None:
            if tried.worker == worker:
                self.backend.stop(tried.key, worker, True, grace)

        tried.kill_timer = self._loop.call_later(grace, force)

    def _grace_seconds(self, tried: Try) -> float:
        asked = resources.kill_grace_seconds(tried.order.resources_json)
        return self.settings.kill_grace_seconds if asked is None else asked

    # What the back end tells (adapters.backend.WorkerEvents).

    def running(self, key: str, worker: str) -> None:
        """Its lease begins."""
        tried = self._by_worker.get(worker)
        if tried is not None:
            tried.starting, tried.heard = False, self._loop.time()

    def pending(self, key: str, worker: str, reason: str) -> None:
        tried = self._by_worker.get(worker)
        if tried is None or tried.removed or tried.started_time is not None:
            return
        report = self.context.report_of(tried, 0, tried.situation.worker_segment)
        report.pending.reason = reason
        self.context.spawn(self.context.reporter.report(tried.order, report, tried.traceparent))

    def exited(self, key: str, worker: str, exit: Exit) -> None:
        slot = self._held.pop(worker, None)
        if slot is not None:
            self._release(slot)
        tried = self._by_worker.pop(worker, None)
        if tried is None or tried.worker != worker:
            return
        s = tried.situation
        s.worker_state, s.exit = WorkerState.GONE, exit
        if s.ended_segment < s.worker_segment:  # it had no time to end what it started
            self.backend.end_leftovers(key, worker)
        if tried.kill_timer is not None:
            tried.kill_timer.cancel()
        if tried.removed:
            self.leaving.leave(tried)
        else:
            self.reconcile(tried)
        self._refresh_gauges()

    def _release(self, slot: str) -> None:
        self._launch_all(self.slots.release(slot))

    def _settled(self, tried: Try) -> None:
        """Its worker has begun, so another one may."""
        slot = self._held.get(tried.worker)
        if slot is not None:
            self._launch_all(self.slots.settled(slot))

    def _launch_all(self, slots: Sequence[str]) -> None:
        for slot in slots:
            self._loop.call_soon(self._reconcile_key, slot.rpartition("#")[0])

    def _remove(self, tried: Try) -> None:
        """The order is gone: nothing of the try may stay."""
        self.tries.pop(tried.key, None)
        self.ownership.keys(tried.partition).discard(tried.key)
        if tried.situation.granted_segment >= 0 or tried.granting is not None:
            self.ownership.forget(tried.partition, tried.key)
        tried.removed = True
        self.triggers.stop(tried.key)
        if tried.lease_timer is not None:
            tried.lease_timer.cancel()
        s = tried.situation
        if tried.worker in self._by_worker:
            if s.ended_segment >= s.worker_segment:  # it reported its end and is on its way out
                worker = tried.worker
                grace = self._grace_seconds(tried)
                tried.kill_timer = self._loop.call_later(grace, self.backend.stop, tried.key, worker, True, grace)
            else:
                self.kill(tried)
        else:
            self._release(slot_name(tried.key, s.segment))
            self.leaving.leave(tried)

    # Workers.

    def authenticate(self, token: str) -> Try:
        """The live try that `token` belongs to; raises NotAllowed, or NotOwner when that is for another to say."""
        worker, partition = self.backend.claimed(token)
        if partition not in self.ownership:
            raise NotOwner(f"order partition {partition} is not owned here; look for its owner")
        tried = self._by_worker.get(worker)
        try:
            if tried is None or tried.removed or not self.backend.proves(token, worker, tried.token):
                raise NotAllowed("this token belongs to no live try of this executor")
        except Unproven as unproven:
            raise NotOwner(f"{unproven}; ask again") from unproven
        tried.heard = self._loop.time()
        return tried

    async def run(self) -> None:
        """Leases, live logs, gauges and unpacked bundles, until cancelled."""
        evict_at = self._loop.time()
        while True:
            await asyncio.sleep(_TICK_SECONDS / 2)
            self.context.usage.flush(self.context.reporter.post)
            self.triggers.look()
            now = self._loop.time()
            paused = now - self._last_tick > self.settings.lease_seconds / 2
            self._last_tick = now
            if now >= evict_at:
                evict_at = now + _EVICT_SECONDS
                self.context.spawn(self.context.bundles.evict(self._bundles_in_use))
            for tried in list(self._by_worker.values()):
                if paused or tried.calls or tried.starting:  # its word could not have come
                    tried.heard = now
                if tried.removed:
                    continue
                trylogs.look(self.context, tried)
                s = tried.situation
                patience = self.settings.lost_after_seconds * (1 if tried.started_time else _UNSTARTED_PATIENCE)
                if now - tried.heard > patience and s.ended_segment < s.worker_segment:
                    tried.heard = now
                    self.ends.declare_lost(tried, f"no heartbeat for {patience:.0f} s")

    def _bundles_in_use(self) -> set[str]:
        return {tried.order.bundle.object_key for tried in self.tries.values()}

    def _refresh_gauges(self) -> None:
        self.context.metrics.live.set(len(self._by_worker))
        self.context.metrics.waiting.set(self.slots.waiting)

    @property
    def live(self) -> int:
        return len(self._by_worker)

    def close(self) -> None:
        for partition in list(self._opening):
            self.revoked(partition)
        for partition in self.ownership.numbers:
            keys_of_tries = self.ownership.keys(partition)
            grants = self.ownership.give_up(partition)
            if grants is not None:
                grants.close()
            for key in keys_of_tries:
                self._drop(self.tries.pop(key))


def configured_memory(order: TaskOrder) -> Memory:
    """What the definition says; nothing when it can't be read (the launch then says why)."""
    try:
        request, limit = resources.memory_of(order.resources_json)
    except resources.InvalidResources:
        return Memory()
    return Memory(request, limit, "configured" if request or limit else "")


async def _impossible(why: str) -> None:
    raise LaunchFailed(why)


def slot_name(key: str, segment: int) -> str:
    return f"{key}#{segment}"
