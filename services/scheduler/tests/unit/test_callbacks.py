"""Callbacks of ends are orders of their own, tried three times, told by events, and harm no run."""

from __future__ import annotations

from typing import Any

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome, TaskState
from spinner_proto.events.v1.events_pb2 import CallbackChanged
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_proto.orders.v1.orders_pb2 import OrderKind


def started(lab: Any, *callbacks: str, retries: int = 0) -> None:
    made = lab.dag()
    made.tasks.add(task_id="a", callbacks=callbacks, has_callbacks=bool(callbacks), retries=retries)
    lab.publish(made)
    lab.trigger()


def told(lab: Any) -> list[tuple[str, str, int, str]]:
    found: list[CallbackChanged] = [e.callback_changed for _, _, e in lab.events if e.HasField("callback_changed")]
    return [
        (c.task_id, c.callback, c.number, TaskState.Name(c.state).removeprefix("TASK_STATE_").lower()) for c in found
    ]


def finish(lab: Any, task_id: str, outcome: int, executor: bool = True) -> None:
    """The executor's word on a callback; with what was ordered, as it sends it."""
    order = lab.order(task_id)
    report = lab.report(order, 3, ended={"outcome": outcome, "message": "it broke", "log_key": "log"})
    if executor:
        report.order = order.SerializeToString()
    lab.take(InboxMessage(task_report=report))


@pytest.mark.parametrize(
    ("outcome", "retries", "callback"),
    [
        (Outcome.OUTCOME_SUCCESS, 0, "success"),
        (Outcome.OUTCOME_FAILED, 0, "failure"),
        (Outcome.OUTCOME_FAILED, 2, "retry"),
        (Outcome.OUTCOME_SKIPPED, 0, "skipped"),
        (Outcome.OUTCOME_OUT_OF_MEMORY, 0, "failure"),
    ],
)
def test_each_end_orders_its_callbacks(lab: Any, outcome: int, retries: int, callback: str) -> None:
    started(lab, "success", "failure", "retry", "skipped", retries=retries)
    lab.end("a", outcome, message="why")
    order = lab.order("__callback__.a")
    assert (order.kind, order.callback, order.callback_reason) == (OrderKind.ORDER_KIND_CALLBACK, callback, "why")
    assert (order.try_key.try_number, order.max_tries) == (1, retries + 1)
    assert told(lab) == [("a", callback, 1, "queued")]


def test_an_end_without_callbacks_orders_none(lab: Any) -> None:
    started(lab, "failure", "execute")
    lab.end("a")
    assert lab.orders == {}
    assert told(lab) == []


def test_a_callback_is_tried_three_times_after_its_run_is_over(lab: Any) -> None:
    started(lab, "failure")
    lab.end("a", Outcome.OUTCOME_FAILED)
    assert lab.run_state() == "failed"
    for attempt in range(3):
        assert lab.order("__callback__.a").segment == attempt
        finish(lab, "__callback__.a", (Outcome.OUTCOME_LOST, Outcome.OUTCOME_CRASHED, Outcome.OUTCOME_FAILED)[attempt])
    assert lab.orders == {}
    assert [state for *_, state in told(lab)] == ["queued", "up_for_retry", "up_for_retry", "failed"]
    assert lab.run_state() == "failed"
    assert len(lab.executions) == 1


def test_a_callback_of_an_executor_that_does_not_send_the_order_is_tried_once(lab: Any) -> None:
    started(lab, "success")
    lab.end("a")
    finish(lab, "__callback__.a", Outcome.OUTCOME_FAILED, executor=False)
    assert lab.orders == {}
    assert [state for *_, state in told(lab)] == ["queued", "failed"]


def test_the_callbacks_of_a_dag_are_told_too(lab: Any) -> None:
    made = lab.dag(has_success_callback=True)
    made.tasks.add(task_id="a")
    lab.publish(made)
    lab.trigger()
    lab.end("a")
    finish(lab, "__callback__", Outcome.OUTCOME_SUCCESS)
    assert told(lab) == [("", "success", 1, "queued"), ("", "success", 1, "success")]
    assert lab.orders == {}
