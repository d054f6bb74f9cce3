"""Why is a task not running: a situation for each reason, made by the scheduler's own decisions (B6)."""

from __future__ import annotations

from typing import Any

import pytest
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.explain import UnknownError, explain_pool
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address, owner_of
from spinner_scheduler.domain.reasons import Code

from services.scheduler.tests.unit.dags import FAILED, begin, chain
from services.scheduler.tests.unit.explaining import (
    HOUR,
    START,
    after,
    dag_reasons,
    names,
    pool,
    run_reasons,
    task,
    timed,
    why,
)


def test_upstream_not_done_names_rule_and_tasks(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for task_id, upstream in (("a", []), ("b", []), ("c", [0, 1])):
        made.tasks.add(task_id=task_id, upstream=upstream)
    begin(lab, made)
    lab.at(7)
    lab.end("a")
    reason = task(lab, "c")[Code.UPSTREAM_NOT_DONE]
    assert "trigger rule all_success waits for 1 task instance" in reason.message
    assert [(party.name, party.state, party.try_number) for party in reason.holders] == [("b", "queued", 1)]
    assert after(reason.since) == 0


def mapped(lab: Any) -> DagDefinition:
    made = lab.dag()
    made.tasks.add(task_id="list", reports_length=True)
    each = made.tasks.add(task_id="each", upstream=[0])
    each.map_length.task = 0
    made.tasks.add(task_id="after", upstream=[1])
    return made


def test_map_length_pending(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    assert set(task(lab, "each")) == {Code.MAP_LENGTH_PENDING}
    assert names(task(lab, "each")[Code.MAP_LENGTH_PENDING]) == ["list"]
    lab.end("list", return_length=3)
    found = why(lab, "dag", "run", "each")
    assert (found.state, found.reasons[0].code, found.reasons[0].waiting_count) == (
        "mapped",
        Code.NO_EXECUTOR_ANSWER,
        3,
    )
    assert Code.NO_EXECUTOR_ANSWER in task(lab, "each", map_index=1)
    assert names(task(lab, "after")[Code.UPSTREAM_NOT_DONE]) == ["each [0]", "each [1]", "each [2]"]


def test_setup_not_done(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="setup", is_setup=True)
    made.tasks.add(task_id="middle", upstream=[0], trigger_rule="TRIGGER_RULE_ALWAYS")
    made.tasks.add(task_id="work", upstream=[1])
    made.tasks.add(task_id="teardown", upstream=[0, 2], is_teardown=True)
    begin(lab, made)
    lab.end("middle")
    assert names(task(lab, "work")[Code.SETUP_NOT_DONE]) == ["setup"]


def past(lab: Any, **fields: Any) -> None:
    made = chain(lab.dag(), "a", "b")
    for name, value in fields.items():
        setattr(made.tasks[0], name, value)
    begin(lab, made)
    lab.at(1)
    lab.trigger("second")


def test_depends_on_past(lab) -> None:  # type: ignore[no-untyped-def]
    past(lab, depends_on_past=True)
    reason = task(lab, "a", "second")[Code.DEPENDS_ON_PAST]
    assert [(party.run_id, party.task_id, party.state) for party in reason.holders] == [("run", "a", "queued")]


def test_depends_on_past_of_a_run_that_has_ended(lab) -> None:  # type: ignore[no-untyped-def]
    past(lab, depends_on_past=True)
    lab.end("a", FAILED)
    reason = task(lab, "a", "second")[Code.DEPENDS_ON_PAST]
    assert [(party.run_id, party.task_id) for party in reason.holders] == [("run", "a")]


def test_wait_for_downstream(lab) -> None:  # type: ignore[no-untyped-def]
    past(lab, wait_for_downstream=True)
    lab.end("a")
    reason = task(lab, "a", "second")[Code.WAIT_FOR_DOWNSTREAM]
    assert [party.task_id for party in reason.holders] == ["b"]


def test_retry_delay(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 1
    made.tasks[0].retry_delay.FromSeconds(120)
    begin(lab, made)
    lab.at(5)
    lab.end("a", FAILED)
    reason = task(lab, "a")[Code.RETRY_DELAY]
    assert (after(reason.since), after(reason.until)) == (5, 125)
    # While the DAG is paused, both hold; afterwards only the pause.
    lab.command(set_paused={"paused": True})
    assert set(task(lab, "a")) == {Code.DAG_PAUSED, Code.RETRY_DELAY}
    lab.at(200)
    assert set(task(lab, "a")) == {Code.DAG_PAUSED}


def test_rescheduled(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    report = lab.report(lab.order("a"), 3, rescheduled={})
    report.rescheduled.next_time.FromMicroseconds(START + 60 * times.SECOND)
    lab.take(InboxMessage(task_report=report))
    assert after(task(lab, "a")[Code.RESCHEDULED].until) == 60


def test_deferred(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.at(3)
    report = lab.report(lab.order("a"), 3, deferred={"trigger_class": "my.triggers.FileTrigger"})
    report.deferred.timeout.FromSeconds(30)
    lab.take(InboxMessage(task_report=report))
    reason = task(lab, "a")[Code.DEFERRED]
    assert reason.message.startswith("FileTrigger has not fired")
    assert names(reason) == ["my.triggers.FileTrigger"]
    assert (after(reason.since), after(reason.until)) == (3, 33)


def in_pool(lab: Any, name: str, *slots: int) -> None:
    made = lab.dag()
    for number, wanted in enumerate(slots):
        made.tasks.add(task_id=f"t{number}", pool=name, pool_slots=wanted, priority_weight=100 - number)
    begin(lab, made)


def test_pool_full(lab) -> None:  # type: ignore[no-untyped-def]
    lab.take(pool("p", 2))
    in_pool(lab, "p", 2, 1, 1)
    reason = task(lab, "t2")[Code.POOL_FULL]
    assert reason.message == "2 of 2 slots of pool p are taken; 1 are before it in the queue"
    assert names(reason) == ["t0"]
    assert reason.fix.endswith("spinner pools set p SLOTS")
    grouped = run_reasons(lab)[Code.POOL_FULL]
    assert grouped.waiting_count == 2 and grouped.fix.endswith("spinner pools set p SLOTS")


def test_a_run_that_waits_for_two_pools_says_both(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for number in range(4):
        made.tasks.add(task_id=f"t{number}", pool=f"p{number % 2}")
    begin(lab, made)
    found = why(lab, "dag", "run").reasons
    assert sorted((reason.code, reason.waiting_count, reason.message[-5:]) for reason in found) == [
        (Code.POOL_MISSING, 2, " (p0)"),
        (Code.POOL_MISSING, 2, " (p1)"),
    ]


def test_pool_queue(lab) -> None:  # type: ignore[no-untyped-def]
    lab.take(pool("p", 3))
    in_pool(lab, "p", 2, 3, 1)
    assert "it wants 3" in task(lab, "t1")[Code.POOL_FULL].message
    reason = task(lab, "t2")[Code.POOL_QUEUE]
    assert names(reason) == ["t1"] and "needs 3 slots; 1 are free" in reason.message


@pytest.mark.parametrize(
    ("slots", "code"), [(None, Code.POOL_MISSING), (0, Code.POOL_HAS_NO_SLOTS), (1, Code.POOL_TOO_SMALL)]
)
def test_pools_that_never_can(lab, slots: int | None, code: Code) -> None:  # type: ignore[no-untyped-def]
    if slots is not None:
        lab.take(pool("p", slots))
    in_pool(lab, "p", 2)
    assert set(task(lab, "t0")) == {code}


def test_pool_of_another_partition_not_answered(make_lab) -> None:  # type: ignore[no-untyped-def]
    inbox = "scheduler_inbox-spinner_tier_1"
    owner = owner_of("p", Address(inbox, 0), "spinner", (1,), 2)
    lab = make_lab(Address(inbox, 1 - owner.partition), pool_partitions=2)
    in_pool(lab, "p", 1)
    reason = task(lab, "t0")[Code.POOL_NOT_ANSWERED]
    assert names(reason) == [f"spinner_tier_1_{owner.partition}", "p"]


def test_who_holds_a_pool_is_told_to_other_partitions(lab) -> None:  # type: ignore[no-untyped-def]
    lab.take(pool("p", 1))
    assert explain_pool(lab.state, "p", lab.now).state == "free"
    in_pool(lab, "p", 1)
    found = explain_pool(lab.state, "p", lab.now)
    assert (found.state, [names(reason) for reason in found.reasons]) == ("full", [["t0"]])
    with pytest.raises(UnknownError) as unknown:
        explain_pool(lab.state, "absent", lab.now)
    assert unknown.value.code == "POOL_NOT_FOUND"


def test_max_active_tasks(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.max_active_tasks = 1
    for task_id in "ab":
        made.tasks.add(task_id=task_id)
    begin(lab, made)
    waiting = next(iter({"a", "b"} - set(lab.ordered())))
    reason = task(lab, waiting)[Code.MAX_ACTIVE_TASKS]
    assert names(reason) == lab.ordered() and "max_active_tasks is 1" in reason.message


def test_max_active_tis_per_dag(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].max_active_tis_per_dag = 1
    begin(lab, made)
    lab.trigger("second")
    reason = task(lab, "a", "second")[Code.MAX_ACTIVE_TIS_PER_DAG]
    assert [(party.run_id, party.task_id) for party in reason.holders] == [("run", "a")]


def test_max_active_tis_per_run(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    each = made.tasks.add(task_id="each", max_active_tis_per_dagrun=2)
    each.map_length.literal = 3
    begin(lab, made)
    reason = task(lab, "each", map_index=2)[Code.MAX_ACTIVE_TIS_PER_RUN]
    assert names(reason) == ["each [0]", "each [1]"]


def test_from_order_to_end(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.at(1)
    order = lab.order("a")
    reason = task(lab, "a")[Code.NO_EXECUTOR_ANSWER]
    assert after(reason.since) == 0 and names(reason) == ["cluster spinner"]
    lab.take(InboxMessage(task_report=lab.report(order, 1, pending={"reason": "0/3 nodes have enough memory"})))
    assert "0/3 nodes have enough memory" in task(lab, "a")[Code.EXECUTOR_PENDING].message
    assert "0/3 nodes" in run_reasons(lab)[Code.EXECUTOR_PENDING].message
    lab.take(InboxMessage(task_report=lab.report(order, 2, launched={})))
    assert set(task(lab, "a")) == {Code.LAUNCHED_NOT_STARTED}
    lab.at(2)
    lab.take(InboxMessage(task_report=lab.report(order, 3, started={})))
    reason = task(lab, "a")[Code.RUNNING]
    assert after(reason.since) == 2
    assert reason.fix == "See its log: spinner tasks logs dag run a --follow"
    lab.command(stop_run={"run_id": "run"})
    assert set(task(lab, "a")) == {Code.CANCELLING}
    assert Code.CANCELLING in run_reasons(lab)


def test_execution_timeout_is_said_of_a_running_task(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].execution_timeout.FromSeconds(50)
    begin(lab, made)
    lab.start("a")
    assert after(task(lab, "a")[Code.RUNNING].until) == 50


def test_queued_timeout_is_said_of_an_ordered_task(make_lab) -> None:  # type: ignore[no-untyped-def]
    lab = make_lab(limits=Limits(queued_timeout=90 * times.SECOND))
    begin(lab, chain(lab.dag(), "a"))
    assert after(task(lab, "a")[Code.NO_EXECUTOR_ANSWER].until) == 90


def test_restarting(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.start("a")
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["a"]})
    assert set(task(lab, "a")) == {Code.RESTARTING}


def test_next_decision_when_nothing_holds(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab))
    # The timer of the next run is due, but no decision was made since.
    lab.now += HOUR * times.SECOND
    assert set(dag_reasons(lab)) == {Code.NEXT_DECISION}
