"""A simulated executor: level-triggered over orders, with slow, failing, lost and repeating workers.

Sending of reports is delayed, doubled, reordered and lost; an end is sent again until its order is tombstoned. It can
die (what it had not sent is gone, its workers live on and are adopted), stop for a while, and be slow. What a worker
does depends on its try alone, so that a try does the same in every scenario of a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.decision import order_key
from spinner_scheduler.simulation.dags import KEYS, START
from spinner_scheduler.simulation.violations import ViolatedError

if TYPE_CHECKING:
    from spinner_scheduler.simulation.world import World

_INFRASTRUCTURE = (Outcome.OUTCOME_LOST, Outcome.OUTCOME_LAUNCH_FAILED, Outcome.OUTCOME_EVICTED)
_AGAIN_SECONDS = 60
# How often the source has something for a watcher, by the last letter of its name.
WATCHED_SECONDS = {"v": 120, "w": 600}


class SimulatedExecutor:
    """Writes to the world's inboxes; reads orders by `take`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._noise = set(world.scenario.noise)
        self._orders: dict[str, TaskOrder] = {}
        self._ended: dict[str, tuple[int, TaskReport]] = {}
        # (key, segment) of workers that were granted their start.
        self._grants: set[tuple[str, int]] = set()
        # Orders that came while it was away; only the latest of each key is kept, as in a compacted topic.
        self._unseen: dict[str, TaskOrder | None] = {}
        self._away_until = 0
        self._life = 0
        # In which life a watcher's trigger was started, by the key of its order.
        self._watching: dict[str, int] = {}
        self._factor = 1.0

    def take(self, key: str, order: TaskOrder | None) -> None:
        """Sees the next record of the orders' topic."""
        if self._away_until > self._world.now:
            self._unseen[key] = order
        else:
            self._follow(key, order)

    def _follow(self, key: str, order: TaskOrder | None) -> None:
        if order is None:
            self._orders.pop(key, None)
            self._ended.pop(key, None)
            return
        before = self._orders.get(key)
        self._orders[key] = order
        if order.kind == OrderKind.ORDER_KIND_WATCHER:
            self._watch(key)
            return
        rng = self._rng(order)
        if order.desired_state == DesiredState.DESIRED_STATE_CANCELLED:
            self._after(rng, 0.1, 2, lambda: self._cancelled(key, order))
        elif order.desired_state == DesiredState.DESIRED_STATE_DEFERRED:
            self._after(rng, 1, 200, lambda: self._fire(key, order))
        elif before is None or before.segment != order.segment:
            if (key, order.segment) in self._grants:
                raise ViolatedError("no_try_launched_twice", f"{key}, segment {order.segment}")
            self._grants.add((key, order.segment))
            self._after(rng, 0.01, 1, lambda: self._launch(key, order, rng))

    # -- faults --------------------------------------------------------------------------------------------------

    def die(self, seconds: float) -> None:
        """What it had not sent is gone. Its next life adopts the workers and reports all ends again."""
        self._life += 1
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        self._away_until = max(self._away_until, self._world.now + int(seconds * times.SECOND))
        self._world.later(seconds, self._back)

    def slow(self, factor: float, seconds: float) -> None:
        self._factor = factor
        self._world.later(seconds, self._fast)

    def calm(self) -> None:
        """No more faults."""
        self._noise.clear()
        self._factor = 1.0
        self._away_until = 0
        self._back()

    def _fast(self) -> None:
        self._factor = 1.0

    def _back(self) -> None:
        if self._away_until > self._world.now:
            return
        unseen, self._unseen = self._unseen, {}
        for key, order in unseen.items():
            self._follow(key, order)
        for key, order in list(self._orders.items()):
            if order.kind == OrderKind.ORDER_KIND_WATCHER:
                self._watch(key)
        for key, (segment, report) in list(self._ended.items()):
            ended = self._orders.get(key)
            if ended is not None and ended.segment == segment:
                self._deliver(ended, report)

    # -- what workers do -----------------------------------------------------------------------------------------

    def _launch(self, key: str, order: TaskOrder, rng: random.Random) -> None:
        if not self._current(key, order):
            return
        if order.kind == OrderKind.ORDER_KIND_LAYOUT:
            self._after(rng, 0.1, 5, lambda: self._compute_layout(key, order, rng))
            return
        if order.kind != OrderKind.ORDER_KIND_TASK:
            self._after(rng, 0.1, 5, lambda: self._end(key, order, rng, Outcome.OUTCOME_SUCCESS))
            return
        if "fail" in self._noise and rng.random() < 0.05:
            self._end(key, order, rng, rng.choice(_INFRASTRUCTURE), started=False)
            return
        launched = self._report(order, 1)
        launched.launched.SetInParent()
        self._deliver(order, launched)
        self._after(rng, 0.01, 2, lambda: self._start(key, order, rng))

    def _start(self, key: str, order: TaskOrder, rng: random.Random) -> None:
        if not self._current(key, order):
            return
        started = self._report(order, 2)
        started.started.SetInParent()
        self._deliver(order, started)
        self._after(rng, 0.05, 120, lambda: self._finish(key, order, rng))

    def _finish(self, key: str, order: TaskOrder, rng: random.Random) -> None:
        if not self._current(key, order):
            return
        chance = rng.random()
        if chance < 0.08 and order.segment < 4:
            report = self._report(order, 3)
            report.rescheduled.next_time.CopyFrom(times.to_timestamp(self._world.now + 30 * times.SECOND))
            self._deliver_end(key, order, report)
        elif chance < 0.16 and order.segment < 4:
            report = self._report(order, 3)
            report.deferred.trigger_class = "t.T"
            report.deferred.method_name = "resume"
            if rng.random() < 0.3:
                # A person decides, or nobody does in time.
                report.deferred.human.options.extend(["yes", "no"])
                report.deferred.human.timeout.FromSeconds(300)
                report.deferred.human.defaults.extend(["no"] if rng.random() < 0.7 else [])
            else:
                report.deferred.timeout.FromSeconds(600)
            self._deliver_end(key, order, report)
        elif "fail" in self._noise and chance < 0.3:
            outcome = rng.choice(
                [Outcome.OUTCOME_FAILED, Outcome.OUTCOME_FAILED, Outcome.OUTCOME_FAILED_NO_RETRY, Outcome.OUTCOME_LOST]
            )
            self._end(key, order, rng, outcome)
        elif chance < 0.34:
            self._end(key, order, rng, Outcome.OUTCOME_SKIPPED)
        else:
            self._end(key, order, rng, Outcome.OUTCOME_SUCCESS)

    def _compute_layout(self, key: str, order: TaskOrder, rng: random.Random) -> None:
        if not self._current(key, order):
            return
        if "fail" in self._noise and rng.random() < 0.3:
            self._end(key, order, rng, Outcome.OUTCOME_FAILED)
            return
        report = self._report(order, 3)
        report.layout_computed.version = self._world.compute_layout(order)
        self._deliver_end(key, order, report)

    def _fire(self, key: str, order: TaskOrder, again: float = _AGAIN_SECONDS) -> None:
        if self._orders.get(key) is not order:
            return
        report = self._report(order, 1)
        report.trigger_fired.payload_json = b"{}"
        self._deliver(order, report)
        self._world.later(again, lambda: self._fire(key, order, 2 * again))

    def _cancelled(self, key: str, order: TaskOrder) -> None:
        if self._orders.get(key) is order and not self._has_ended(key, order):
            self._end(key, order, self._rng(order), Outcome.OUTCOME_KILLED_BY_USER)

    def _end(
        self, key: str, order: TaskOrder, rng: random.Random, outcome: Outcome.ValueType, started: bool = True
    ) -> None:
        report = self._report(order, 3)
        ended = report.ended
        ended.outcome = outcome
        ended.return_length = rng.choice([0, 1, 2, 3]) if order.reports_length else -1
        if started:
            ended.start_time.CopyFrom(times.to_timestamp(self._world.now))
        ended.end_time.CopyFrom(times.to_timestamp(self._world.now))
        if outcome == Outcome.OUTCOME_SUCCESS and order.kind == OrderKind.ORDER_KIND_TASK:
            for asset in self._world.outlets(order):
                if rng.random() < 0.6:
                    ended.asset_events.add(asset=asset, partition_key=rng.choice(KEYS))
        if outcome == Outcome.OUTCOME_SUCCESS and rng.random() < 0.1:
            ended.skip_task_ids.append(f"t{rng.randrange(12)}")
        self._deliver_end(key, order, report)

    # -- watchers ------------------------------------------------------------------------------------------------

    def _watch(self, key: str) -> None:
        """Starts a watcher's trigger, once in each of the executor's lives."""
        if self._watching.get(key) != self._life:
            self._watching[key] = self._life
            life = self._life
            self._world.later(1, lambda: self._look(key, life))

    def _look(self, key: str, life: int) -> None:
        """Tells all that came since what its order says was taken; so again, until that is said."""
        order = self._orders.get(key)
        if order is None or self._life != life:
            if self._watching.get(key) == life:
                del self._watching[key]
            return
        name = order.try_key.task_id
        period = WATCHED_SECONDS[name[-1]]
        report = self._report(order, 1)
        said = report.watcher_reported
        said.asset, said.mark = order.asset, str(self._world.now)
        if "fail" in self._noise and self._world.rng.random() < 0.05:
            said.error = "it failed"
        else:
            taken = int(order.trigger_cursor or "0")
            there = (min(self._world.now, self._world.end) - START) // (period * times.SECOND)
            for number in range(taken + 1, min(there, taken + 5) + 1):
                partition = KEYS[number % len(KEYS)] if number % 3 else ""
                said.events.add(event_id=str(number), payload_json=b"{}", cursor=str(number), partition_key=partition)
        self._deliver(order, report)
        self._world.later(period * (0.5 + self._world.rng.random()), lambda: self._look(key, life))

    # -- sending -------------------------------------------------------------------------------------------------

    def _deliver_end(self, key: str, order: TaskOrder, report: TaskReport) -> None:
        self._ended[key] = (order.segment, report)
        self._deliver(order, report)
        self._world.later(_AGAIN_SECONDS, lambda: self._again(key, order, report))

    def _again(self, key: str, order: TaskOrder, report: TaskReport, again: float = 2 * _AGAIN_SECONDS) -> None:
        if self._ended.get(key) == (order.segment, report) and key in self._orders:
            self._deliver(order, report)
            self._world.later(again, lambda: self._again(key, order, report, 2 * again))

    def _deliver(self, order: TaskOrder, report: TaskReport) -> None:
        if self._away_until > self._world.now:
            return
        message, rng, life = InboxMessage(task_report=report), self._world.rng, self._life

        def send() -> None:
            if self._life == life:
                self._world.send(order.reply_topic, order.reply_partition, report.try_key.dag_id, message)

        copies = 2 if "double" in self._noise and rng.random() < 0.05 else 1
        if "lose" in self._noise and rng.random() < 0.03:
            copies = 0
        for _ in range(copies):
            late = "delay" in self._noise and rng.random() < 0.05
            delay = rng.uniform(0, 40) if late else rng.expovariate(20)
            self._world.later(delay, send)

    def _report(self, order: TaskOrder, sequence: int) -> TaskReport:
        report = TaskReport(
            try_key=order.try_key,
            segment=order.segment,
            sequence=sequence,
            executor="e",
            worker=order_key(order.try_key),
        )
        report.time.CopyFrom(times.to_timestamp(self._world.now))
        return report

    def _current(self, key: str, order: TaskOrder) -> bool:
        return self._orders.get(key) is order and not self._has_ended(key, order)

    def _has_ended(self, key: str, order: TaskOrder) -> bool:
        return key in self._ended and self._ended[key][0] >= order.segment

    def _rng(self, order: TaskOrder) -> random.Random:
        return self._world.scenario.rng(f"{order_key(order.try_key)}/{order.segment}/{order.desired_state}")

    def _after(self, rng: random.Random, least: float, most: float, action: Callable[[], None]) -> None:
        self._world.later((least + (most - least) * rng.random() ** 3) * self._factor, action)
