"""What happens inside a run: retries, branches, mapping, setups, limits (B2)."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TriggerRule
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_scheduler.domain import times

FAILED = Outcome.OUTCOME_FAILED


def chain(made: DagDefinition, *task_ids: str) -> DagDefinition:
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def begin(lab, made: DagDefinition) -> None:  # type: ignore[no-untyped-def]
    lab.publish(made)
    lab.trigger()


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


# -- retries -----------------------------------------------------------------------------------------------------


def test_retries_with_a_fixed_delay(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 2
    made.tasks[0].retry_delay.FromSeconds(60)
    begin(lab, made)
    lab.end("a", FAILED)
    assert lab.states() == {"a": "up_for_retry"} and lab.ordered() == []
    lab.at(59)
    assert lab.ordered() == []
    lab.at(60)
    assert lab.order("a").try_key.try_number == 2
    lab.end("a", FAILED)
    lab.at(121)
    lab.end("a", FAILED)
    assert lab.run_state() == "failed"
    assert lab.records() == {("a", 1): ["up_for_retry"], ("a", 2): ["up_for_retry"], ("a", 3): ["failed"]}


def test_exponential_delays_double_with_jitter_up_to_the_maximum(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 5
    made.tasks[0].retry_delay.FromSeconds(10)
    made.tasks[0].retry_exponential_backoff = True
    made.tasks[0].max_retry_delay.FromSeconds(60)
    begin(lab, made)
    delays = []
    for _ in range(5):
        before = lab.now
        lab.end("a", FAILED)
        due = lab.state.timers.next_due()
        delays.append((due - before) / times.SECOND)
        lab.now = due
        lab.take()
    for number, delay in enumerate(delays):
        assert min(10 * 2**number, 60) <= delay <= min(20 * 2**number, 60), delays


def test_no_retry_when_the_task_says_so(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 2
    begin(lab, made)
    lab.end("a", Outcome.OUTCOME_FAILED_NO_RETRY)
    assert lab.run_state() == "failed"


def test_retry_time_of_the_report_wins(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].retries = 1
    begin(lab, made)
    lab.end("a", FAILED, retry_time=times.to_timestamp(lab.now + 7 * times.SECOND))
    lab.at(6)
    assert lab.ordered() == []
    lab.at(7)
    assert lab.ordered() == ["a"]


@pytest.mark.parametrize(
    ("outcome", "free"),
    [
        (Outcome.OUTCOME_LOST, 3),
        (Outcome.OUTCOME_LAUNCH_FAILED, 3),
        (Outcome.OUTCOME_IMAGE_PULL_FAILED, 3),
        (Outcome.OUTCOME_EVICTED, 5),
        (Outcome.OUTCOME_NODE_LOST, 5),
        (Outcome.OUTCOME_PREEMPTED, 10),
    ],
)
def test_infrastructure_failures_do_not_use_up_retries(lab, outcome: int, free: int) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    for number in range(1, free + 1):
        assert lab.order("a").try_key.try_number == number
        lab.end("a", outcome)
        lab.at(400 * number)
    # One more is too many: the task has no retries of its own.
    lab.end("a", outcome)
    assert lab.run_state() == "failed"
    assert [record.try_number for record in lab.executions] == list(range(1, free + 2))


@pytest.mark.parametrize("outcome", [Outcome.OUTCOME_OUT_OF_MEMORY, Outcome.OUTCOME_CONFIG_ERROR])
def test_ends_by_the_task_itself_use_up_its_retries(lab, outcome: int) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    lab.end("a", outcome)
    assert lab.run_state() == "failed"


def test_free_tries_of_several_kinds_are_bounded_together(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "a"))
    for number in range(1, 4):
        lab.end("a", Outcome.OUTCOME_EVICTED)
        lab.at(400 * number)
    lab.end("a", Outcome.OUTCOME_LOST)
    assert lab.run_state() == "failed"


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


# -- mapping -----------------------------------------------------------------------------------------------------


def mapped(lab, count_from: str = "") -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="list", reports_length=True)
    made.tasks.add(task_id="each", upstream=[0], map_length={"task": 0})
    made.tasks.add(task_id="sum", upstream=[1])
    return made


def test_mapped_task_expands_to_the_length(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    lab.end("list", return_length=3)
    assert lab.ordered() == ["each[0]", "each[1]", "each[2]"]
    assert lab.order("each", map_index=2).map_length == 3
    for index in (2, 0):
        lab.end("each", map_index=index)
    assert "sum" not in lab.ordered()
    lab.end("each", map_index=1)
    assert lab.order("sum").upstream_map_lengths == {"each": 3}
    lab.end("sum")
    assert lab.run_state() == "success"


def test_zero_length_is_skipped(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    lab.end("list", return_length=0)
    assert lab.states() == {"list": "success", "each": "skipped", "sum": "skipped"}
    assert lab.run_state() == "success"


def test_too_long_a_map_fails_with_the_limit(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    lab.end("list", return_length=5000)
    assert lab.states()["each"] == "failed"
    assert any("max_map_length is 1024" in e.task_state_changed.reason for _, _, e in lab.events)


def test_one_failed_instance_fails_what_needs_all(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    lab.end("list", return_length=2)
    lab.end("each", FAILED, map_index=0)
    assert lab.states()["sum"] == "upstream_failed"
    lab.end("each", map_index=1)
    assert lab.run_state() == "failed"
    # Clearing the one instance lets the rest go on.
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["each"], "map_indexes": [0], "downstream": True})
    assert lab.ordered() == ["each[0]"]
    lab.end("each", map_index=0)
    lab.end("sum")
    assert lab.run_state() == "success"


def test_cleared_source_may_give_another_length(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, mapped(lab))
    lab.end("list", return_length=3)
    for index in range(3):
        lab.end("each", map_index=index)
    lab.end("sum")
    for length in (1, 4):
        lab.command(clear_tasks={"run_id": "run"})
        lab.end("list", return_length=length)
        assert lab.ordered() == [f"each[{index}]" for index in range(length)]
        for index in range(length):
            lab.end("each", map_index=index)
        lab.end("sum")
        assert lab.run_state() == "success"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ({"literal": 2}, 2),
        ({"product": {"items": [{"literal": 2}, {"literal": 3}]}}, 6),
        ({"zip_shortest": {"items": [{"literal": 2}, {"literal": 3}]}}, 2),
        ({"zip_longest": {"items": [{"literal": 2}, {"literal": 3}]}}, 3),
        ({"concat": {"items": [{"literal": 2}, {"literal": 3}]}}, 5),
    ],
)
def test_lengths(lab, length: dict[str, object], expected: int) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="each", map_length=length)
    begin(lab, made)
    assert len(lab.ordered()) == expected


def test_mapped_group_goes_index_by_index(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.task_groups.add(group_id="g", map_length={"literal": 2})
    made.tasks.add(task_id="g.a", group_id="g")
    made.tasks.add(task_id="g.b", group_id="g", upstream=[0])
    made.tasks.add(task_id="end", upstream=[1])
    begin(lab, made)
    assert lab.ordered() == ["g.a[0]", "g.a[1]"]
    lab.end("g.a", map_index=1)
    assert lab.ordered() == ["g.a[0]", "g.b[1]"]
    lab.end("g.b", map_index=1)
    lab.end("g.a", FAILED, map_index=0)
    assert lab.states()["g.b[0]"] == "upstream_failed"
    assert lab.states()["end"] == "upstream_failed"
    assert lab.run_state() == "failed"


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


# -- limits ------------------------------------------------------------------------------------------------------


def fan(lab, width: int, **fields: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for number in range(width):
        made.tasks.add(task_id=f"t{number}", **fields)
    return made


def test_max_active_tasks(lab) -> None:  # type: ignore[no-untyped-def]
    made = fan(lab, 5)
    made.max_active_tasks = 2
    begin(lab, made)
    assert len(lab.ordered()) == 2
    assert sorted(lab.states().values()) == ["queued", "queued", "scheduled", "scheduled", "scheduled"]
    while lab.ordered():
        assert len(lab.ordered()) <= 2
        lab.end(lab.ordered()[0])
    assert lab.run_state() == "success"


def test_max_active_tis(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="each", map_length={"literal": 4}, max_active_tis_per_dagrun=2, max_active_tis_per_dag=3)
    lab.publish(made)
    lab.trigger("one")
    lab.trigger("two")
    assert (len(lab.ordered("one")), len(lab.ordered("two"))) == (2, 1)
    for run_id in ("one", "two") * 10:
        if lab.ordered(run_id):
            index = int(lab.ordered(run_id)[0][5:-1])
            lab.end("each", run_id=run_id, map_index=index)
            assert len(lab.ordered("one")) <= 2 and len(lab.ordered("two")) <= 2
            assert len(lab.ordered("one")) + len(lab.ordered("two")) <= 3
    assert (lab.run_state("one"), lab.run_state("two")) == ("success", "success")


def test_priority_decides_who_goes_first(lab) -> None:  # type: ignore[no-untyped-def]
    made = fan(lab, 4)
    for number, task in enumerate(made.tasks):
        task.priority_weight = number
        task.weight_rule = 3
    made.max_active_tasks = 1
    begin(lab, made)
    order = []
    while lab.ordered():
        order.append(lab.ordered()[0])
        lab.end(order[-1])
    assert order == ["t3", "t2", "t1", "t0"]


def test_weight_rules(lab) -> None:  # type: ignore[no-untyped-def]
    from spinner_scheduler.domain.layout import Layout

    made = chain(lab.dag(), "a", "b", "c")
    for task in made.tasks:
        task.priority_weight = 2
    assert list(Layout(made).priorities) == [6, 4, 2]
    for task in made.tasks:
        task.weight_rule = 2
    assert list(Layout(made).priorities) == [2, 4, 6]


def test_depends_on_past(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a")
    made.tasks[0].depends_on_past = True
    lab.publish(made)
    lab.trigger("one")
    lab.now += 1000
    lab.trigger("two")
    assert (lab.ordered("one"), lab.ordered("two")) == (["a"], [])
    lab.end("a", FAILED, run_id="one")
    assert lab.ordered("two") == [] and lab.run_state("two") == "running"
    lab.command(mark_tasks={"run_id": "one", "task_ids": ["a"], "state": TaskState.TASK_STATE_SUCCESS})
    assert lab.ordered("two") == ["a"]


def test_wait_for_downstream(lab) -> None:  # type: ignore[no-untyped-def]
    made = chain(lab.dag(), "a", "b")
    made.tasks[0].depends_on_past = made.tasks[0].wait_for_downstream = True
    lab.publish(made)
    lab.trigger("one")
    lab.now += 1000
    lab.trigger("two")
    lab.end("a", run_id="one")
    assert lab.ordered("two") == []
    lab.end("b", run_id="one")
    assert lab.ordered("two") == ["a"]


def test_a_failed_run_names_the_tasks_that_failed_themselves(lab) -> None:  # type: ignore[no-untyped-def]
    begin(lab, chain(lab.dag(), "cause", "leaf"))
    lab.end("cause", FAILED)
    assert lab.states() == {"cause": "failed", "leaf": "upstream_failed"}
    assert lab.last("run_state_changed").reason == "failed: cause"
