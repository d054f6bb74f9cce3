"""A simulated executor: level-triggered over orders, with slow, failing, lost and repeating workers.

Its reports are durable once sent; sending is delayed, doubled and reordered. An end is sent again until its order is
tombstoned, as after a restart of a real executor.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TaskReport
from spinner_proto.orders.v1.orders_pb2 import DesiredState, OrderKind, TaskOrder

from spinner_scheduler.domain import times
from spinner_scheduler.domain.decision import order_key

# (topic, partition, key, message)
Send = Callable[[str, int, str, InboxMessage], None]
Later = Callable[[float, Callable[[], None]], None]

_INFRASTRUCTURE = (Outcome.OUTCOME_LOST, Outcome.OUTCOME_LAUNCH_FAILED, Outcome.OUTCOME_EVICTED)


class SimulatedExecutor:
    """`faulty`: whether tries may fail and reports may be doubled and reordered."""

    def __init__(self, rng: random.Random, send: Send, later: Later, now: Callable[[], int]) -> None:
        self._rng, self._send, self._later, self._now = rng, send, later, now
        self.faulty = True
        self._orders: dict[str, TaskOrder] = {}
        self._ended: dict[str, tuple[int, TaskReport]] = {}
        # (key, segment) of workers that were launched; a second launch is a broken promise.
        self.launches: dict[tuple[str, int], int] = {}
        self.gone: set[str] = set()
        self.broken: list[str] = []

    def take(self, key: str, order: TaskOrder | None) -> None:
        """Sees the next record of the orders' topic."""
        if order is None:
            self._orders.pop(key, None)
            self._ended.pop(key, None)
            self.gone.add(key)
            return
        if key in self.gone:
            self.broken.append(f"no try is ordered twice: {key} was ordered again after its end")
        before = self._orders.get(key)
        self._orders[key] = order
        if order.desired_state == DesiredState.DESIRED_STATE_CANCELLED:
            self._after(0.1, 2, lambda: self._cancelled(key, order))
        elif order.desired_state == DesiredState.DESIRED_STATE_DEFERRED:
            self._after(1, 200, lambda: self._fire(key, order))
        elif before is None or before.segment != order.segment:
            launch = (key, order.segment)
            self.launches[launch] = self.launches.get(launch, 0) + 1
            if self.launches[launch] > 1:
                self.broken.append(f"no try is launched twice: {key}, segment {order.segment}")
            self._after(0.01, 1, lambda: self._launch(key, order))

    # -- what workers do -----------------------------------------------------------------------------------------

    def _launch(self, key: str, order: TaskOrder) -> None:
        if not self._current(key, order):
            return
        if order.kind != OrderKind.ORDER_KIND_TASK:
            self._after(0.1, 5, lambda: self._end(key, order, Outcome.OUTCOME_SUCCESS))
            return
        if self.faulty and self._rng.random() < 0.05:
            self._end(key, order, self._rng.choice(_INFRASTRUCTURE), started=False)
            return
        launched = self._report(order, 1)
        launched.launched.SetInParent()
        self._deliver(order, launched)
        self._after(0.01, 2, lambda: self._start(key, order))

    def _start(self, key: str, order: TaskOrder) -> None:
        if not self._current(key, order):
            return
        started = self._report(order, 2)
        started.started.SetInParent()
        self._deliver(order, started)
        self._after(0.05, 120, lambda: self._finish(key, order))

    def _finish(self, key: str, order: TaskOrder) -> None:
        if not self._current(key, order):
            return
        chance = self._rng.random()
        if chance < 0.08 and order.segment < 4:
            report = self._report(order, 3)
            report.rescheduled.next_time.CopyFrom(times.to_timestamp(self._now() + 30 * times.SECOND))
            self._deliver_end(key, order, report)
        elif chance < 0.16 and order.segment < 4:
            report = self._report(order, 3)
            report.deferred.trigger_class = "t.T"
            report.deferred.method_name = "resume"
            report.deferred.timeout.FromSeconds(600)
            self._deliver_end(key, order, report)
        elif self.faulty and chance < 0.3:
            outcome = self._rng.choice(
                [Outcome.OUTCOME_FAILED, Outcome.OUTCOME_FAILED, Outcome.OUTCOME_FAILED_NO_RETRY, Outcome.OUTCOME_LOST]
            )
            self._end(key, order, outcome)
        elif chance < 0.34:
            self._end(key, order, Outcome.OUTCOME_SKIPPED)
        else:
            self._end(key, order, Outcome.OUTCOME_SUCCESS)

    def _fire(self, key: str, order: TaskOrder) -> None:
        if self._orders.get(key) is not order:
            return
        report = self._report(order, 1)
        report.trigger_fired.payload_json = b"{}"
        self._deliver(order, report)
        if self._rng.random() < 0.1:
            self._deliver(order, report)

    def _cancelled(self, key: str, order: TaskOrder) -> None:
        if self._orders.get(key) is order and not self._has_ended(key, order):
            self._end(key, order, Outcome.OUTCOME_KILLED_BY_USER)

    def _end(self, key: str, order: TaskOrder, outcome: Outcome.ValueType, started: bool = True) -> None:
        report = self._report(order, 3)
        ended = report.ended
        ended.outcome = outcome
        ended.return_length = self._rng.choice([0, 1, 2, 3]) if order.reports_length else -1
        if started:
            ended.start_time.CopyFrom(times.to_timestamp(self._now()))
        ended.end_time.CopyFrom(times.to_timestamp(self._now()))
        if outcome == Outcome.OUTCOME_SUCCESS and self._rng.random() < 0.1:
            ended.skip_task_ids.append(f"t{self._rng.randrange(12)}")
        self._deliver_end(key, order, report)

    # -- sending -------------------------------------------------------------------------------------------------

    def _deliver_end(self, key: str, order: TaskOrder, report: TaskReport) -> None:
        self._ended[key] = (order.segment, report)
        self._deliver(order, report)
        self._later(60, lambda: self._again(key, order, report))

    def _again(self, key: str, order: TaskOrder, report: TaskReport) -> None:
        if self._ended.get(key) == (order.segment, report) and key in self._orders:
            self._deliver(order, report)
            self._later(60, lambda: self._again(key, order, report))

    def _deliver(self, order: TaskOrder, report: TaskReport) -> None:
        message = InboxMessage(task_report=report)
        times_sent = 2 if self.faulty and self._rng.random() < 0.05 else 1
        for _ in range(times_sent):
            delay = self._rng.expovariate(20) if self._rng.random() < 0.95 else self._rng.uniform(0, 40)
            self._later(
                delay,
                lambda: self._send(order.reply_topic, order.reply_partition, order.try_key.dag_id, message),
            )

    def _report(self, order: TaskOrder, sequence: int) -> TaskReport:
        report = TaskReport(
            try_key=order.try_key,
            segment=order.segment,
            sequence=sequence,
            executor="e",
            worker=order_key(order.try_key),
        )
        report.time.CopyFrom(times.to_timestamp(self._now()))
        return report

    def _current(self, key: str, order: TaskOrder) -> bool:
        return self._orders.get(key) is order and not self._has_ended(key, order)

    def _has_ended(self, key: str, order: TaskOrder) -> bool:
        return key in self._ended and self._ended[key][0] >= order.segment

    def _after(self, least: float, most: float, action: Callable[[], None]) -> None:
        self._later(least + (most - least) * self._rng.random() ** 3, action)
