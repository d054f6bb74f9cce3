"""Why is nothing running: one situation for each reason, made by the scheduler's own decisions (B6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, DeadlineReference
from spinner_proto.explain.v1.explain_pb2 import Explanation, Reason, Subject
from spinner_proto.inbox.v1.inbox_pb2 import AssetMessage, CreateBackfill, InboxMessage, PoolMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.explain import UnknownError, explain, explain_pool
from spinner_scheduler.domain.pools import Address, owner_of
from spinner_scheduler.domain.reasons import CATALOGUE, Code
from spinner_scheduler.domain.state import Limits

START = 1_760_000_400 * times.SECOND  # 2025-10-09T09:00:00Z, as in conftest
HOUR = 3600
FAILED = Outcome.OUTCOME_FAILED


def why(
    lab: Any, dag_id: str = "dag", run_id: str = "", task_id: str = "", map_index: int | None = None
) -> Explanation:
    subject = Subject(dag_id=dag_id, run_id=run_id, task_id=task_id)
    if map_index is not None:
        subject.map_index = map_index
    return explain(lab.state, subject, lab.now)


def task(lab: Any, task_id: str, run_id: str = "run", map_index: int | None = None) -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab, "dag", run_id, task_id, map_index).reasons}


def run_reasons(lab: Any, run_id: str = "run") -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab, "dag", run_id).reasons}


def dag_reasons(lab: Any) -> dict[str, Reason]:
    return {reason.code: reason for reason in why(lab).reasons}


def names(reason: Reason) -> list[str]:
    return [party.name for party in reason.holders]


def after(stamp: Any) -> float:
    """Seconds after START."""
    return (times.from_timestamp(stamp) - START) / times.SECOND


def chain(made: DagDefinition, *task_ids: str) -> DagDefinition:
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def begin(lab: Any, made: DagDefinition) -> None:
    lab.publish(made)
    lab.trigger()


def timed(lab: Any, **fields: Any) -> DagDefinition:
    """A DAG every hour since an hour before START."""
    made = chain(lab.dag(**fields), "a")
    made.schedule.cron.expressions.append("0 * * * *")
    if not made.HasField("start_date"):
        made.start_date.FromMicroseconds(START - HOUR * times.SECOND)
    return made


def pool(name: str, slots: int, include_deferred: bool = False) -> InboxMessage:
    message = InboxMessage(pool=PoolMessage(pool=name))
    message.pool.changed.slots = slots
    message.pool.changed.include_deferred = include_deferred
    return message


# -- a DAG's next run --------------------------------------------------------------------------------------------


def test_paused_by_a_person(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab))
    lab.at(10)
    lab.command(set_paused={"paused": True})
    found = why(lab)
    reason = {reason.code: reason for reason in found.reasons}[Code.DAG_PAUSED]
    assert found.state == "paused"
    assert (names(reason), after(reason.since)) == (["user:alice"], 10)
    assert reason.fix == "Unpause it: spinner dags unpause dag"
    # All that holds it is said, not only the first.
    assert Code.NOT_DUE in dag_reasons(lab)


def test_paused_by_failures(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab, max_consecutive_failed_runs=1)
    lab.publish(made)
    lab.end("a", FAILED, run_id=lab.runs()[0])
    reason = dag_reasons(lab)[Code.DAG_PAUSED_BY_FAILURES]
    assert "1 of its runs failed in a row" in reason.message


def test_paused_when_created(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab, paused_upon_creation=True))
    assert "is_paused_upon_creation" in dag_reasons(lab)[Code.DAG_PAUSED].message


def test_removed(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab))
    lab.at(5)
    lab.take(InboxMessage(definition_removed={"dag_id": "dag"}))
    assert why(lab).state == "removed"
    assert [(reason.code, after(reason.since)) for reason in why(lab).reasons] == [(Code.DAG_REMOVED, 5)]


def test_definition_missing(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab))
    lab.definitions.clear()
    lab.state.layouts = type(lab.state.layouts)(lambda dag_id, version: None)
    assert "dag@v1" in dag_reasons(lab)[Code.DEFINITION_MISSING].message


def test_no_schedule(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(chain(lab.dag(), "a"))
    reason = dag_reasons(lab)[Code.NO_SCHEDULE]
    assert (reason.fix, after(reason.since)) == ("Trigger it: spinner dags trigger dag. Or give it a schedule.", 0)


def test_no_start_date(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab, catchup=True)
    made.ClearField("start_date")
    lab.publish(made)
    assert Code.NO_START_DATE in dag_reasons(lab)


def test_start_date_ahead(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab)
    made.start_date.FromMicroseconds(START + 5 * HOUR * times.SECOND)
    lab.publish(made)
    reason = dag_reasons(lab)[Code.START_DATE_AHEAD]
    assert after(reason.until) == 6 * HOUR


def test_end_date_passed(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab)
    made.end_date.FromMicroseconds(START - 9 * HOUR * times.SECOND)
    lab.publish(made)
    assert "end_date" in dag_reasons(lab)[Code.END_DATE_PASSED].message


def test_schedule_exhausted(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab)
    made.schedule.cron.expressions[:] = ["0 0 30 2 *"]
    lab.publish(made)
    assert Code.SCHEDULE_EXHAUSTED in dag_reasons(lab)


def test_timetable_exhausted(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.schedule.explicit.SetInParent()
    lab.publish(made)
    assert Code.TIMETABLE_EXHAUSTED in dag_reasons(lab)


def test_timetable_not_evaluated(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.schedule.explicit.evaluated = True
    lab.publish(made)
    assert set(dag_reasons(lab)) == {Code.TIMETABLE_NOT_EVALUATED}
    lab.take(InboxMessage(timetable_evaluated={"dag_id": "dag", "version": "v1"}))
    assert set(dag_reasons(lab)) == {Code.TIMETABLE_EXHAUSTED}


def test_schedule_invalid(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab)
    made.schedule.cron.timezone = "Mars/Olympus"
    lab.publish(made)
    assert "Mars/Olympus" in dag_reasons(lab)[Code.SCHEDULE_INVALID].message


def test_once_done(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.schedule.once.SetInParent()
    lab.publish(made)
    assert Code.ONCE_DONE in dag_reasons(lab)


def asset_dag(lab: Any) -> DagDefinition:
    made = chain(lab.dag(max_active_runs=1), "a")
    made.schedule.assets.SetInParent()
    for name in ("orders", "stock"):
        made.schedule.assets.expression.all.items.add(asset=name)
    return made


def test_assets_not_updated(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(asset_dag(lab))
    assert names(dag_reasons(lab)[Code.ASSETS_NOT_UPDATED]) == ["orders", "stock"]
    lab.at(5)
    delivered = {"dag_id": "dag", "update": {"asset": "orders"}}
    message = InboxMessage(asset=AssetMessage(name="orders", delivered=delivered))
    message.asset.delivered.update.time.FromMicroseconds(lab.now)
    lab.take(message)
    reason = dag_reasons(lab)[Code.ASSETS_NOT_UPDATED]
    assert (names(reason), after(reason.since)) == (["stock"], 5)
    assert "1 of its 2 assets" in reason.message


def test_assets_after_the_end_date(lab) -> None:  # type: ignore[no-untyped-def]
    made = asset_dag(lab)
    made.end_date.FromMicroseconds(START - times.SECOND)
    lab.publish(made)
    assert set(dag_reasons(lab)) == {Code.END_DATE_PASSED}


def test_backfills_of_a_dag(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab, catchup=False)
    made.start_date.FromMicroseconds(START - 9 * HOUR * times.SECOND)
    lab.publish(made)
    wish = CreateBackfill(backfill_id="b1", max_active_runs=1)
    wish.from_date.FromMicroseconds(START - 9 * HOUR * times.SECOND)
    wish.to_date.FromMicroseconds(START - 5 * HOUR * times.SECOND)
    lab.command(create_backfill=wish)
    reason = dag_reasons(lab)[Code.BACKFILL_MAX_ACTIVE_RUNS]
    assert reason.message.startswith("4 intervals of backfill b1 wait")
    assert [party.kind for party in reason.holders] == ["backfill", "run"]
    lab.command(pause_backfill={"backfill_id": "b1"})
    assert names(dag_reasons(lab)[Code.BACKFILL_PAUSED]) == ["b1"]
    lab.command(cancel_backfill={"backfill_id": "b1"})
    assert not {Code.BACKFILL_PAUSED, Code.BACKFILL_MAX_ACTIVE_RUNS} & set(dag_reasons(lab))


def test_not_due(lab) -> None:  # type: ignore[no-untyped-def]
    made = timed(lab)
    made.schedule.cron.expressions[:] = ["30 9 * * *"]
    lab.publish(made)
    lab.at(60)
    (reason,) = why(lab).reasons
    assert (reason.code, after(reason.until), reason.note) == (Code.NOT_DUE, 24.5 * HOUR, False)


def test_catchup_off_says_which_intervals_get_no_run(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab, paused_upon_creation=True))
    lab.at(3 * HOUR)
    found = dag_reasons(lab)
    assert set(found) == {Code.DAG_PAUSED, Code.CATCHUP_OFF}
    assert found[Code.CATCHUP_OFF].note
    assert "from 2025-10-09T08:00:00+00:00 to 2025-10-09T11:00:00+00:00" in found[Code.CATCHUP_OFF].message
    lab.command(set_paused={"paused": False})
    assert lab.runs() == ["scheduled__2025-10-09T11:00:00+00:00"]


def test_previous_run_active(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.schedule.continuous.SetInParent()
    made.start_date.FromMicroseconds(START)
    lab.publish(made)
    lab.at(3)
    assert names(dag_reasons(lab)[Code.PREVIOUS_RUN_ACTIVE]) == lab.runs()


def test_max_active_runs_of_the_dag(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(timed(lab, max_active_runs=1, catchup=True))
    lab.at(2 * HOUR)
    reason = dag_reasons(lab)[Code.MAX_ACTIVE_RUNS]
    assert names(reason) == lab.runs() and len(lab.runs()) == 1
    assert after(reason.since) == HOUR
    assert "max_active_runs is 1" in reason.message


# -- runs --------------------------------------------------------------------------------------------------------


def test_a_queued_run_waits_for_the_active_ones(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(max_active_runs=1), "a"))
    lab.at(4)
    for run_id in ("second", "third"):
        lab.trigger(run_id)
    found = why(lab, "dag", "third")
    (reason,) = found.reasons
    assert (found.state, reason.code, names(reason), after(reason.since)) == (
        "queued",
        Code.MAX_ACTIVE_RUNS,
        ["run"],
        4,
    )
    assert "1 queued runs are before it" in reason.message
    # A task of it says so, and why its run does.
    assert set(task(lab, "a", "third")) == {Code.RUN_NOT_STARTED, Code.MAX_ACTIVE_RUNS}


def test_a_queued_run_of_a_paused_dag_has_both_reasons(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(max_active_runs=1), "a"))
    lab.command(set_paused={"paused": True})
    lab.trigger("second")
    assert set(run_reasons(lab, "second")) == {Code.DAG_PAUSED, Code.MAX_ACTIVE_RUNS}


def test_layout_pending(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(dynamic=True), "a"))
    assert set(run_reasons(lab)) == {Code.LAYOUT_PENDING}
    assert Code.LAYOUT_PENDING in task(lab, "a")


def test_run_timeout_ahead_is_a_note(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.dagrun_timeout.FromSeconds(600)
    begin(lab, made)
    reason = run_reasons(lab)[Code.RUN_TIMEOUT_AHEAD]
    assert reason.note and after(reason.until) == 600


def test_deadlines_are_notes(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    deadline = made.deadlines.add(name="lunch", reference=DeadlineReference.DEADLINE_REFERENCE_QUEUED_TIME)
    deadline.interval.FromSeconds(60)
    begin(lab, made)
    reason = run_reasons(lab)[Code.DEADLINE_AHEAD]
    assert reason.note and after(reason.until) == 60 and "deadline lunch" in reason.message
    lab.at(61)
    reason = run_reasons(lab)[Code.DEADLINE_MISSED]
    assert reason.note and after(reason.since) == 60
    lab.end("a")
    assert not why(lab, "dag", "run").reasons


def test_a_running_run_groups_what_its_tasks_wait_for(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for number in range(30):
        made.tasks.add(task_id=f"first{number}")
        made.tasks.add(task_id=f"then{number}", upstream=[2 * number])
    begin(lab, made)
    lab.start("first0")
    found = run_reasons(lab)
    assert {code: reason.waiting_count for code, reason in found.items()} == {
        Code.RUNNING: 1,
        Code.NO_EXECUTOR_ANSWER: 29,
        Code.UPSTREAM_NOT_DONE: 30,
    }
    upstream = found[Code.UPSTREAM_NOT_DONE]
    assert len(upstream.waiting) == len(upstream.holders) == 20
    assert names(found[Code.NO_EXECUTOR_ANSWER]) == ["cluster spinner"]
    assert found[Code.RUNNING].message.startswith("first0: the worker of try 1 runs")


def test_a_paused_run_says_the_pause_once(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a", "b"))
    lab.command(set_paused={"paused": True})
    codes = [reason.code for reason in why(lab, "dag", "run").reasons]
    assert sorted(codes) == sorted({Code.DAG_PAUSED, Code.NO_EXECUTOR_ANSWER, Code.UPSTREAM_NOT_DONE})


def test_what_has_ended_waits_for_nothing(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a", "b"))
    lab.end("a")
    assert not why(lab, "dag", "run", "a").reasons
    lab.end("b")
    found = why(lab, "dag", "run")
    assert (found.state, list(found.reasons)) == ("success", [])


# -- task instances ----------------------------------------------------------------------------------------------


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


# -- questions that have no answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        (("absent", "", ""), "DAG_NOT_FOUND"),
        (("dag", "absent", ""), "RUN_NOT_FOUND"),
        (("dag", "run", "absent"), "TASK_NOT_FOUND"),
    ],
)
def test_unknown_subjects(lab, subject: tuple[str, str, str], code: str) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    with pytest.raises(UnknownError) as unknown:
        why(lab, *subject)
    assert unknown.value.code == code and unknown.value.fix


def test_every_reason_is_documented_with_its_fix() -> None:
    page = (Path(__file__).parents[4] / "docs" / "explain.md").read_text()
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) >= set(CATALOGUE) == set(Code)
    for code, entry in CATALOGUE.items():
        assert entry.title in rows[code], code


def test_the_answer_is_bounded(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.max_active_tasks = 1
    for number in range(21_000):
        made.tasks.add(task_id=f"t{number}")
    begin(lab, made)
    started = time.process_time()
    found = why(lab, "dag", "run")
    assert time.process_time() - started < 2
    assert {reason.code: reason.waiting_count for reason in found.reasons} == {
        Code.NO_EXECUTOR_ANSWER: 1,
        Code.MAX_ACTIVE_TASKS: 19_999,
        Code.NOT_EXAMINED: 1_000,
    }
    assert found.ByteSize() < 20_000
