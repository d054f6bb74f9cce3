"""Why is nothing running: a situation for each reason of DAGs and runs, made by the scheduler's own decisions (B6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, DeadlineReference
from spinner_proto.inbox.v1.inbox_pb2 import AssetMessage, CreateBackfill, InboxMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.explain import UnknownError
from spinner_scheduler.domain.reasons import CATALOGUE, Code

from services.scheduler.tests.unit.dags import FAILED, begin, chain
from services.scheduler.tests.unit.explaining import (
    HOUR,
    START,
    after,
    dag_reasons,
    names,
    run_reasons,
    task,
    timed,
    why,
)

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
