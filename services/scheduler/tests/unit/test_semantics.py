"""Airflow's rules about dates, the past, weights, scopes and parameters (B1, B2, B4)."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spinner_proto.common.v1.common_pb2 import Outcome, RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TriggerRule, WeightRule
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, TimetableEvaluated
from spinner_scheduler.domain import times

from services.scheduler.tests.unit.dags import FAILED, begin, chain

DAY = 86_400


def seconds(lab, after: float) -> Timestamp:  # type: ignore[no-untyped-def]
    return times.to_timestamp(lab.epoch + int(after * times.SECOND))


# -- dates of tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "at"), [("start_date", 10), ("end_date", -10)])
def test_a_task_outside_its_dates_has_no_part_in_the_run(lab, field: str, at: int) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b")
    getattr(made.tasks[1], field).CopyFrom(seconds(lab, at))
    begin(lab, made)
    assert lab.states()["b"] == "skipped"
    lab.end("a")
    assert lab.run_state() == "success"


def test_a_backfill_ignores_dates_of_tasks(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].start_date.CopyFrom(seconds(lab, 10))
    lab.publish(made)
    lab.command(trigger_run={"run_id": "run", "run_type": RunType.RUN_TYPE_BACKFILL})
    assert lab.ordered() == ["a"]


# -- the past ----------------------------------------------------------------------------------------------------


def daily(lab, catchup: bool) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(catchup=catchup, max_active_runs=10), "a")
    made.schedule.delta.period.FromSeconds(DAY)
    made.start_date.CopyFrom(seconds(lab, -2 * DAY))
    made.tasks[0].depends_on_past = True
    made.tasks[0].ignore_first_depends_on_past = True
    return made


@pytest.mark.parametrize("catchup", [True, False])
def test_with_catchup_the_past_is_the_run_before_that_was_scheduled(lab, catchup: bool) -> None:  # type: ignore[no-untyped-def]
    made = daily(lab, catchup)
    lab.publish(made)
    first = lab.runs()[-1]
    for run_id in lab.runs():
        lab.end("a", run_id=run_id)
    by_hand = {"run_id": "by_hand", "logical_date": seconds(lab, -3600)}
    lab.command(trigger_run=by_hand)
    lab.end("a", FAILED, run_id="by_hand")
    lab.at(DAY)
    second = lab.runs()[-1]
    assert second not in (first, "by_hand")
    # The run by hand lies between the two and failed: it counts only without catch-up.
    assert lab.ordered(second) == (["a"] if catchup else [])


def test_a_task_that_is_new_starts_at_once_unless_it_wants_a_past(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(chain(lab.dag(), "old"))
    lab.trigger("one")
    lab.end("old", run_id="one")
    made = chain(lab.dag(version="v2"), "old")
    for name, ignore in (("eager", True), ("strict", False)):
        made.tasks.add(task_id=name, depends_on_past=True, ignore_first_depends_on_past=ignore)
    lab.publish(made)
    lab.at(1)
    lab.trigger("two")
    assert lab.ordered("two") == ["eager", "old"]
    lab.end("eager", run_id="two")
    lab.end("old", run_id="two")
    # It waits; the run is not stuck.
    assert lab.run_state("two") == "running"


def test_a_skip_can_wait_for_the_past_too(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b")
    made.tasks[1].depends_on_past = made.tasks[1].wait_for_past_depends_before_skipping = True
    lab.publish(made)
    for number, run_id in enumerate(("one", "two")):
        lab.at(number)
        lab.trigger(run_id)
    lab.end("a", run_id="one")
    lab.end("a", Outcome.OUTCOME_SKIPPED, run_id="two")
    assert "b" not in lab.states("two")
    lab.end("b", run_id="one")
    assert lab.states("two")["b"] == "skipped"


# -- weights and time-outs ---------------------------------------------------------------------------------------


def test_custom_weights_go_by_the_try(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].weight_rule = WeightRule.WEIGHT_RULE_CUSTOM
    made.tasks[0].custom_weights.extend([5, 50])
    made.tasks[0].retries = 2
    made.tasks[0].retry_delay.FromSeconds(1)
    begin(lab, made)
    seen = []
    for number in range(1, 4):
        seen.append(lab.order("a").priority)
        lab.end("a", FAILED)
        lab.at(number * 10)
    assert seen == [5, 50, 50]


def test_custom_weights_order_the_queue(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.max_active_tasks = 1
    for name, weight in (("low", 1), ("high", 9), ("mid", 5)):
        made.tasks.add(task_id=name, weight_rule=WeightRule.WEIGHT_RULE_CUSTOM, custom_weights=[weight])
    begin(lab, made)
    seen = []
    while lab.ordered():
        seen += lab.ordered()
        lab.end(seen[-1])
    assert seen == ["high", "mid", "low"]


def test_a_task_says_how_long_its_order_may_wait(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks.add(task_id="patient")
    made.tasks[0].queued_timeout.FromSeconds(60)
    begin(lab, made)
    lab.at(59)
    assert lab.order("a").desired_state == 1
    lab.at(60)
    assert lab.order("a").desired_state == 3
    assert lab.order("patient").desired_state == 1
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER, start_time=None)
    assert lab.last("task_ended").outcome == Outcome.OUTCOME_NEVER_SCHEDULED
    lab.at(70)
    assert lab.order("a").try_key.try_number == 2


# -- scopes ------------------------------------------------------------------------------------------------------


def test_clearing_work_runs_its_setup_and_teardown_again(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "setup", "work", "teardown", "other")
    made.tasks[0].is_setup = True
    made.tasks[2].is_teardown = True
    made.tasks[2].trigger_rule = TriggerRule.TRIGGER_RULE_ALL_DONE_SETUP_SUCCESS
    made.tasks[2].upstream[:] = [0, 1]
    made.tasks[2].setups.append(0)
    made.tasks[3].upstream[:] = []
    begin(lab, made)
    for task in ("setup", "other", "work", "teardown"):
        lab.end(task)
    assert lab.run_state() == "success"
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["work"]})
    assert lab.ordered() == ["setup"]
    lab.end("setup")
    lab.end("work")
    lab.end("teardown")
    assert lab.run_state() == "success"
    assert lab.records()[("other", 1)] == ["success"]


# -- parameters --------------------------------------------------------------------------------------------------


def conf(**values: object) -> dict[str, object]:
    return {"inline": json.dumps(values).encode(), "media_type": "application/json"}


def test_one_task_is_retried_with_parameters_of_its_own(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(chain(lab.dag(), "a", "b"))
    lab.command(trigger_run={"run_id": "run", "conf": conf(day=1)})
    lab.end("a")
    lab.end("b", FAILED)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["b"], "task_conf": conf(day=2)})
    assert json.loads(lab.order("b").conf.inline) == {"day": 2}
    lab.end("b", FAILED)
    lab.command(clear_tasks={"run_id": "run"})
    # Cleared without parameters it sees the run's again.
    assert json.loads(lab.order("a").conf.inline) == {"day": 1}
    lab.end("a")
    assert json.loads(lab.order("b").conf.inline) == {"day": 1}


def test_a_running_task_restarts_with_the_new_parameters(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.start("a")
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["a"], "task_conf": conf(day=3)})
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert json.loads(lab.order("a").conf.inline) == {"day": 3}


# -- timetables that are programs --------------------------------------------------------------------------------


def evaluated(lab, *ends: int, version: str = "v1", after: int = 0) -> InboxMessage:  # type: ignore[no-untyped-def]
    message = TimetableEvaluated(dag_id="dag", version=version)
    if after:
        message.after_start.CopyFrom(seconds(lab, after - 10))
        message.after_end.CopyFrom(seconds(lab, after))
    for end in ends:
        message.intervals.add(
            logical_date=seconds(lab, end - 10),
            start=seconds(lab, end - 10),
            end=seconds(lab, end),
            run_after=seconds(lab, end),
        )
    return InboxMessage(timetable_evaluated=message)


def custom(lab, version: str = "v1") -> DagDefinition:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(version=version, catchup=True), "a")
    made.schedule.explicit.evaluated = True
    return made


def test_a_custom_timetable_runs_at_the_times_that_were_evaluated(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(custom(lab))
    assert lab.last("dag_updated").no_next_run_reason
    lab.take(evaluated(lab, 10, 30))
    lab.at(30)
    assert len(lab.runs()) == 2
    # What is told next goes on after the run at which it was asked for; a part that begins elsewhere is no answer.
    lab.take(evaluated(lab, 10, 30, 40))
    lab.at(100)
    assert len(lab.runs()) == 2
    lab.take(evaluated(lab, 30, 40, after=10))
    assert len(lab.runs()) == 3


def test_times_of_another_version_are_not_used(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(custom(lab))
    lab.take(evaluated(lab, 10, version="v0"))
    lab.take(evaluated(lab, 20))
    lab.publish(custom(lab, "v2"))
    lab.at(50)
    assert lab.runs() == []
    lab.take(evaluated(lab, 60, version="v2"))
    lab.at(60)
    assert len(lab.runs()) == 1
