"""What happens inside a run: ends, stale reports, branches, setups, deferrals, time-outs (B2)."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TriggerRule
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_scheduler.domain import times

from services.scheduler.tests.unit.dags import FAILED, begin, chain

# -- ends --------------------------------------------------------------------------------------------------------


def test_diamond(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for task_id, upstream in (("a", []), ("b", [0]), ("c", [0]), ("d", [1, 2])):
        made.tasks.add(task_id=task_id, upstream=upstream)
    begin(lab, made)
    assert lab.ordered() == ["a"]
    lab.start("a")
    assert lab.states()["a"] == "running"
    lab.end("a")
    assert lab.ordered() == ["b", "c"]
    lab.end("b")
    lab.end("c")
    lab.end("d")
    assert lab.run_state() == "success"
    assert lab.orders == {}
    assert lab.records() == {(task, 1): ["success"] for task in "abcd"}


def test_inline_tasks_need_no_worker_but_leave_a_record(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b", "c")
    for task in made.tasks:
        task.inline_success = True
    begin(lab, made)
    assert lab.run_state() == "success"
    assert lab.records() == {(task, 1): ["success"] for task in "abc"}
    assert all(not result.orders for result in lab.results)


def test_long_inline_chain_is_no_recursion(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), *(f"t{number}" for number in range(8000)))
    for task in made.tasks:
        task.inline_success = True
    begin(lab, made)
    assert lab.run_state() == "success"
    # One decision, cut into records that fit.
    records = [record for record in lab.results[-1].records if record.run_id]
    assert len(records) > 1
    assert all(record.ByteSize() <= 512 * 1024 for record in records)


def test_failure_goes_down_and_fails_the_run(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a", "b"))
    lab.end("a", FAILED, message="boom")
    assert lab.states() == {"a": "failed", "b": "upstream_failed"}
    assert lab.run_state() == "failed"
    assert lab.records() == {("a", 1): ["failed"]}


def test_a_failed_run_names_the_tasks_that_failed_themselves(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "cause", "leaf"))
    lab.end("cause", FAILED)
    assert lab.states() == {"cause": "failed", "leaf": "upstream_failed"}
    assert lab.last("run_state_changed").reason == "failed: cause"


# -- stale reports ---------------------------------------------------------------------------------------------


def test_late_and_repeated_reports_change_nothing(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b")
    made.tasks[0].retries = 1
    made.tasks[0].retry_delay.FromSeconds(1)
    begin(lab, made)
    order = lab.order("a")
    end = InboxMessage(task_report=lab.report(order, 3, ended={"outcome": FAILED}))
    started = InboxMessage(task_report=lab.report(order, 2, started={}))
    lab.take(end, end, started)
    assert lab.states() == {"a": "up_for_retry"}
    assert len(lab.executions) == 1
    lab.at(2)
    lab.take(end)
    assert lab.states()["a"] == "queued"
    assert lab.order("a").try_key.try_number == 2
    # An end of a try that is over has its order removed once more, for an executor that missed it.
    assert lab.results[-1].orders == {"dag/run/a/-1/1": None}


# -- branches ----------------------------------------------------------------------------------------------------


def test_branch_skips_what_it_did_not_choose(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="branch", is_branch=True)
    made.tasks.add(task_id="left", upstream=[0])
    made.tasks.add(task_id="right", upstream=[0])
    made.tasks.add(task_id="join", upstream=[1, 2], trigger_rule=TriggerRule.TRIGGER_RULE_NONE_FAILED_MIN_ONE_SUCCESS)
    begin(lab, made)
    lab.end("branch", skip_task_ids=["right"])
    assert lab.ordered() == ["left"]
    assert lab.states()["right"] == "skipped"
    lab.end("left")
    lab.end("join")
    assert lab.run_state() == "success"
    # The decision outlives a clear of the skipped task.
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["right"]})
    assert lab.states()["right"] == "skipped"
    assert lab.run_state() == "success"
    # A new decision replaces it.
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["branch"], "downstream": True})
    lab.end("branch", skip_task_ids=["left"])
    assert lab.ordered() == ["right"]


def test_short_circuit_skips_all_that_it_names(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "gate", "a", "b")
    made.tasks[2].trigger_rule = TriggerRule.TRIGGER_RULE_ALL_DONE
    begin(lab, made)
    lab.end("gate", skip_task_ids=["a", "b"])
    assert lab.states() == {"gate": "success", "a": "skipped", "b": "skipped"}
    assert lab.run_state() == "success"


# -- setup and teardown --------------------------------------------------------------------------------------------


def with_setup(lab) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="setup", is_setup=True)
    made.tasks.add(task_id="work", upstream=[0])
    made.tasks.add(
        task_id="teardown",
        upstream=[0, 1],
        is_teardown=True,
        setups=[0],
        trigger_rule=TriggerRule.TRIGGER_RULE_ALL_DONE_SETUP_SUCCESS,
    )
    return made


def test_teardown_runs_after_failed_work_and_the_run_fails_for_the_work(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, with_setup(lab))
    lab.end("setup")
    lab.end("work", FAILED)
    assert lab.ordered() == ["teardown"]
    assert lab.run_state() == "running"
    lab.end("teardown")
    assert lab.run_state() == "failed"


def test_a_failed_teardown_does_not_fail_the_run_unless_it_says_so(lab) -> None:  # type: ignore[no-untyped-def]
    made = with_setup(lab)
    begin(lab, made)
    lab.end("setup")
    lab.end("work")
    lab.end("teardown", FAILED)
    assert lab.run_state() == "success"
    strict = with_setup(lab)
    strict.version = "v2"
    strict.tasks[2].on_failure_fail_dagrun = True
    lab.publish(strict)
    lab.trigger("second")
    lab.end("setup", run_id="second")
    lab.end("work", run_id="second")
    lab.end("teardown", FAILED, run_id="second")
    assert lab.run_state("second") == "failed"


def test_work_waits_for_a_setup_above_it_whatever_its_rule(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="setup", is_setup=True)
    made.tasks.add(task_id="middle", upstream=[0], trigger_rule=TriggerRule.TRIGGER_RULE_ALWAYS)
    made.tasks.add(task_id="work", upstream=[1], trigger_rule=TriggerRule.TRIGGER_RULE_ALL_DONE)
    begin(lab, made)
    lab.end("middle")
    assert lab.ordered() == ["setup"]
    lab.end("setup", FAILED)
    assert lab.states()["work"] == "upstream_failed"


# -- deferral, reschedule, time-outs -----------------------------------------------------------------------------


def test_deferred_task_resumes_with_its_event(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.start("a")
    order = lab.order("a")
    deferral = {"trigger_class": "m.T", "method_name": "go_on"}
    lab.take(InboxMessage(task_report=lab.report(order, 3, deferred=deferral)))
    waiting = lab.order("a")
    assert waiting.desired_state == 2 and waiting.trigger_class == "m.T"
    assert waiting.segment > order.segment
    fired = InboxMessage(task_report=lab.report(waiting, 1, trigger_fired={"payload_json": b'{"x":1}'}))
    lab.take(fired, fired)
    resumed = lab.order("a")
    assert resumed.desired_state == 1 and resumed.segment > waiting.segment
    assert (resumed.resume_method, resumed.resume_event_json) == ("go_on", b'{"x":1}')
    assert resumed.try_key.try_number == 1
    lab.end("a")
    assert lab.run_state() == "success"
    assert lab.records() == {("a", 1): ["success"]}


def test_rescheduled_task_keeps_its_try_and_frees_its_slot(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks.add(task_id="b")
    made.max_active_tasks = 1
    begin(lab, made)
    assert lab.ordered() == ["a"]
    lab.start("a")
    first = lab.order("a")
    at = times.to_timestamp(lab.now + 30 * times.SECOND)
    lab.take(InboxMessage(task_report=lab.report(first, 3, rescheduled={"next_time": at})))
    assert lab.states()["a"] == "up_for_reschedule"
    assert lab.order("b")
    lab.end("b")
    lab.at(31)
    again = lab.order("a")
    assert again.try_key.try_number == 1 and again.segment > first.segment
    assert again.HasField("first_start_time")


def test_run_timeout_kills_and_fails(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b")
    made.dagrun_timeout.FromSeconds(60)
    begin(lab, made)
    lab.start("a")
    lab.at(60)
    assert lab.run_state() == "failed"
    assert "dagrun_timeout" in lab.last("run_state_changed").reason
    assert lab.order("a").desired_state == 3
    assert lab.states()["b"] == "skipped"
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.orders == {} and lab.state.live_runs == 0


def test_execution_timeout_is_enforced_when_the_executor_does_not(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].execution_timeout.FromSeconds(60)
    begin(lab, made)
    lab.start("a")
    lab.at(179)
    assert lab.order("a").desired_state == 1
    lab.at(181)
    assert lab.order("a").desired_state == 3
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.executions[-1].outcome == Outcome.OUTCOME_TIMED_OUT
