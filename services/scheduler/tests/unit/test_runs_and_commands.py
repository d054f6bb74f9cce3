"""Runs by schedule and by hand: catch-up, pause, clear, mark, stop (B1, B4)."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Outcome, RunState, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.inbox.v1.inbox_pb2 import DefinitionRemoved, InboxMessage
from spinner_scheduler.domain import times
from spinner_scheduler.domain.limits import Limits

HOUR = 3600


def hourly(lab, **fields: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    """Starts three hours before the lab does."""
    made = lab.dag(**fields)
    made.schedule.cron.expressions.append("0 * * * *")
    made.schedule.cron.timezone = "UTC"
    made.start_date.CopyFrom(times.to_timestamp(lab.now - 3 * HOUR * times.SECOND))
    made.tasks.add(task_id="a")
    return made


def rejected(lab, answer, code: str) -> str:  # type: ignore[no-untyped-def]
    assert answer is not None and answer.HasField("command_rejected"), answer
    assert answer.command_rejected.code == code
    assert answer.command_rejected.actor.name == "user:alice"
    return str(answer.command_rejected.message)


# -- schedules ---------------------------------------------------------------------------------------------------


def test_catchup_makes_every_interval_once(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, catchup=True))
    lab.at(2 * HOUR + 1)
    expected = [f"scheduled__2025-10-09T{hour:02}:00:00+00:00" for hour in range(6, 11)]
    assert lab.runs() == expected


def test_without_catchup_only_the_latest(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    lab.at(HOUR + 1)
    assert lab.runs() == ["scheduled__2025-10-09T08:00:00+00:00", "scheduled__2025-10-09T09:00:00+00:00"]


def test_max_active_runs_holds_back_and_goes_on(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, catchup=True, max_active_runs=1))
    lab.at(1)
    made = []
    while lab.orders:
        assert len(lab.orders) == 1
        run_id = next(iter(lab.orders.values())).try_key.run_id
        made.append(run_id[-14:-9])
        lab.end("a", run_id=run_id)
    assert made == ["06:00", "07:00", "08:00"]


def test_pause_stops_new_runs_and_tasks_and_unpause_does_not_burst(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab)
    made.tasks.add(task_id="b", upstream=[0])
    lab.publish(made)
    lab.command(set_paused={"paused": True})
    first = lab.runs()[0]
    lab.end("a", run_id=first)
    lab.at(5 * HOUR + 60)
    assert lab.runs() == [first]
    assert lab.ordered(first) == []
    # A run by hand is made, but waits.
    lab.trigger("manual")
    assert lab.run_state("manual") == "queued"
    lab.command(set_paused={"paused": False})
    assert lab.ordered(first) == ["b"]
    assert lab.run_state("manual") == "running"
    assert [run for run in lab.runs() if run.startswith("sched")][1:] == ["scheduled__2025-10-09T13:00:00+00:00"]


def test_paused_upon_creation(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, paused_upon_creation=True))
    assert lab.runs() == [] and lab.last("dag_updated").paused


def test_removed_dag_makes_no_new_runs_but_live_ones_end(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    run_id = lab.runs()[0]
    lab.take(InboxMessage(definition_removed=DefinitionRemoved(dag_id="dag")))
    lab.at(5 * HOUR)
    assert lab.runs() == [run_id]
    lab.end("a", run_id=run_id)
    assert lab.run_state(run_id) == "success"
    message = rejected(lab, lab.command(trigger_run={"run_id": "x"}), "DAG_REMOVED")
    assert "bring its file back" in message


def test_consecutive_failures_pause_the_dag(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab, max_consecutive_failed_runs=2)
    lab.publish(made)
    for hour in (0, 1):
        lab.at(hour * HOUR + 1)
        lab.end("a", Outcome.OUTCOME_FAILED, run_id=lab.runs()[-1])
    assert lab.last("dag_updated").paused
    lab.at(3 * HOUR)
    assert len(lab.runs()) == 2


def test_next_run_and_interval_are_told(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    updated = lab.last("dag_updated")
    assert updated.next_run_time.seconds * times.SECOND == lab.now + HOUR * times.SECOND
    assert updated.next_interval_end == updated.next_run_time
    assert updated.active_runs == 1


def test_a_run_keeps_its_version(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="a")
    lab.publish(made)
    lab.trigger("old")
    other = lab.dag(version="v2")
    other.tasks.add(task_id="b")
    lab.publish(other)
    lab.trigger("new")
    assert (lab.ordered("old"), lab.ordered("new")) == (["a"], ["b"])
    assert lab.order("a", "old").version == "v1"
    lab.end("a", run_id="old")
    lab.command(clear_tasks={"run_id": "old", "latest_version": True})
    assert lab.ordered("old") == ["b"]


def test_the_latest_version_is_taken_when_running_tries_have_been_killed(lab) -> None:  # type: ignore[no-untyped-def]
    old = lab.dag()
    for task_id, upstream in (("done", []), ("chosen", [0]), ("other", [0]), ("gone", [0]), ("last", [1])):
        old.tasks.add(task_id=task_id, upstream=upstream)
    lab.publish(old)
    lab.trigger()
    lab.end("done")
    for task_id in ("chosen", "other", "gone"):
        lab.start(task_id)
    new = lab.dag(version="v2")
    for task_id, upstream in (("done", []), ("added", [0]), ("chosen", [0]), ("other", [0]), ("last", [2])):
        new.tasks.add(task_id=task_id, upstream=upstream)
    lab.publish(new)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["chosen"], "latest_version": True})
    # All three are being killed, and nothing starts before the last of them has ended.
    assert {order.desired_state for order in lab.orders.values()} == {3} and len(lab.orders) == 3
    lab.end("chosen", Outcome.OUTCOME_KILLED_BY_USER)
    lab.end("other", Outcome.OUTCOME_SUCCESS)
    assert lab.ordered() == []
    lab.end("gone", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.states()["gone"] == "removed"
    assert lab.ordered() == ["added", "chosen", "other"]
    assert {order.version for order in lab.orders.values()} == {"v2"}
    assert lab.order("chosen").try_key.try_number == 2
    for task_id in ("added", "chosen", "other", "last"):
        lab.end(task_id)
    assert lab.run_state() == "success"


def test_tasks_that_only_wait_do_not_hold_the_latest_version_back(lab) -> None:  # type: ignore[no-untyped-def]
    old = lab.dag()
    old.tasks.add(task_id="a")
    old.tasks.add(task_id="b", retries=1)
    lab.publish(old)
    lab.trigger()
    order = lab.order("a")
    later = times.to_timestamp(lab.now + 60 * times.SECOND)
    lab.take(InboxMessage(task_report=lab.report(order, 3, rescheduled={"next_time": later})))
    lab.end("b", Outcome.OUTCOME_FAILED)
    new = lab.dag(version="v2")
    new.tasks.add(task_id="b", retries=1)
    new.tasks.add(task_id="a")
    lab.publish(new)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["a"], "latest_version": True})
    assert lab.ordered() == ["a"] and lab.order("a").version == "v2"
    # The retry of b comes as planned, in the new version.
    lab.at(301)
    assert lab.order("b").version == "v2"


def test_unknown_version_is_refused_and_the_old_one_stays(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="a")
    lab.publish(made)
    result = lab.take(InboxMessage(definition_published={"dag_id": "dag", "version": "lost"}))
    assert len(result.refused) == 1 and "lost" in result.refused[0][1]
    assert lab.state.dags["dag"].version == "v1"


# -- commands ------------------------------------------------------------------------------------------------------


def simple(lab, *task_ids: str) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    for position, task_id in enumerate(task_ids):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    lab.publish(made)


def test_trigger_carries_conf_and_logical_date(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    at = times.to_timestamp(lab.now - 86_400 * times.SECOND)
    lab.command(trigger_run={"logical_date": at, "conf": {"inline": b'{"x": 1}'}, "note": "why"})
    run_id = lab.runs()[0]
    assert run_id == "manual__2025-10-08T09:00:00+00:00"
    order = lab.order("a", run_id)
    assert order.conf.inline == b'{"x": 1}' and order.logical_date == at
    assert lab.last("run_created").actor.name == "user:alice"


def test_refusals_say_what_where_and_how_to_fix(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    lab.trigger("one")
    assert "nobody" in rejected(lab, lab.command("nobody", trigger_run={}), "DAG_NOT_FOUND")
    assert "one" in rejected(lab, lab.command(trigger_run={"run_id": "one"}), "RUN_EXISTS")
    assert "a b" in rejected(lab, lab.command(trigger_run={"run_id": "a b"}), "INVALID_RUN_ID")
    assert "nope" in rejected(lab, lab.command(clear_tasks={"run_id": "nope"}), "RUN_NOT_FOUND")
    choice = {"run_id": "one", "task_ids": ["zzz"]}
    assert "zzz" in rejected(lab, lab.command(clear_tasks=choice), "TASK_NOT_FOUND")
    assert "running" in rejected(
        lab, lab.command(mark_tasks={"run_id": "one", "state": TaskState.TASK_STATE_RUNNING}), "INVALID_STATE"
    )
    lab.end("a", run_id="one")
    rejected(lab, lab.command(stop_run={"run_id": "one"}), "INVALID_STATE")
    rejected(lab, lab.command(clear_tasks={"run_id": "one", "only_failed": True}), "NOTHING_TO_CLEAR")


def test_commands_are_idempotent_by_request_id(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    assert lab.command(request_id="r1", trigger_run={}) is not None
    lab.now += 5 * times.SECOND
    assert lab.command(request_id="r1", trigger_run={}) is None
    assert len(lab.runs()) == 1


def test_clear_of_a_finished_run_runs_again(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a", "b", "c")
    lab.trigger()
    for task_id in "abc":
        lab.end(task_id)
    answer = lab.command(clear_tasks={"run_id": "run", "task_ids": ["b"], "downstream": True})
    assert answer.command_accepted.task_count == 2
    assert lab.run_state() == "running"
    assert lab.order("b").try_key.try_number == 2
    lab.end("b")
    lab.end("c")
    assert lab.run_state() == "success"
    assert lab.records()[("c", 2)] == ["success"]


def test_clear_of_a_running_task_kills_it_first(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    lab.trigger()
    lab.start("a")
    lab.command(clear_tasks={"run_id": "run"})
    assert lab.states()["a"] == "restarting"
    order = lab.order("a")
    assert order.desired_state == 3
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.order("a").try_key.try_number == 2
    lab.end("a")
    assert lab.run_state() == "success"
    assert lab.records() == {("a", 1): ["failed"], ("a", 2): ["success"]}


def test_clear_gives_all_retries_again(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="a", retries=1)
    made.tasks[0].retry_delay.FromSeconds(1)
    lab.publish(made)
    lab.trigger()
    for at in (1, 2):
        lab.end("a", Outcome.OUTCOME_FAILED)
        lab.at(at)
    assert lab.run_state() == "failed"
    lab.command(clear_tasks={"run_id": "run", "only_failed": True})
    assert lab.order("a").max_tries == 4
    lab.end("a", Outcome.OUTCOME_FAILED)
    lab.at(10)
    lab.end("a")
    assert lab.run_state() == "success"
    assert [record.try_number for record in lab.executions] == [1, 2, 3, 4]


def test_clear_past_and_future(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    for number in range(3):
        lab.now += times.SECOND
        lab.trigger(f"r{number}")
        lab.end("a", run_id=f"r{number}")
    answer = lab.command(clear_tasks={"run_id": "r1", "past": True})
    assert answer.command_accepted.task_count == 2
    assert [lab.run_state(f"r{number}") for number in range(3)] == ["running", "running", "success"]


def test_mark_success_lets_others_go_on(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a", "b")
    lab.trigger()
    lab.end("a", Outcome.OUTCOME_FAILED)
    assert lab.run_state() == "failed"
    lab.command(mark_tasks={"run_id": "run", "task_ids": ["a"], "state": TaskState.TASK_STATE_SUCCESS})
    marked = [e.task_state_changed for _, _, e in lab.events if e.task_state_changed.marked]
    assert [m.actor.name for m in marked] == ["user:alice"]
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["b"]})
    lab.end("b")
    assert lab.run_state() == "success"


def test_marking_a_running_task_ends_its_try(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    lab.trigger()
    lab.start("a")
    order = lab.order("a")
    lab.command(mark_tasks={"run_id": "run", "task_ids": ["a"], "state": TaskState.TASK_STATE_SUCCESS})
    assert lab.run_state() == "success" and lab.orders == {}
    assert len(lab.executions) == 1
    late = lab.report(order, 3, ended={"outcome": Outcome.OUTCOME_FAILED})
    lab.take(InboxMessage(task_report=late))
    assert lab.run_state() == "success" and len(lab.executions) == 1


def test_mark_run(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a", "b")
    lab.trigger("one")
    lab.command(mark_run={"run_id": "one", "state": RunState.RUN_STATE_SUCCESS})
    assert lab.run_state("one") == "success" and lab.last("run_state_changed").marked
    lab.now += 1000
    lab.trigger("two")
    lab.command(mark_run={"run_id": "two", "state": RunState.RUN_STATE_FAILED})
    assert lab.states("two") == {"a": "failed", "b": "skipped"} and lab.run_state("two") == "failed"
    assert lab.orders == {}


def test_stop_run(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a", "b")
    lab.trigger()
    lab.start("a")
    lab.command(stop_run={"run_id": "run"})
    assert lab.run_state() == "failed" and "alice" in lab.last("run_state_changed").reason
    assert lab.order("a").desired_state == 3
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.states() == {"a": "failed", "b": "skipped"}
    assert lab.state.live_runs == 0


def test_a_task_that_defers_while_it_is_killed_has_ended(lab) -> None:  # type: ignore[no-untyped-def]
    simple(lab, "a")
    lab.trigger()
    lab.start("a")
    order = lab.order("a")
    deferred = InboxMessage(task_report=lab.report(order, 3, deferred={"trigger_class": "t"}))
    lab.command(clear_tasks={"run_id": "run"})
    lab.take(deferred)
    assert lab.order("a").try_key.try_number == 2
    lab.start("a")
    order = lab.order("a")
    rescheduled = InboxMessage(task_report=lab.report(order, 3, rescheduled={}))
    lab.command(stop_run={"run_id": "run"})
    lab.take(rescheduled)
    assert lab.states() == {"a": "failed"} and lab.state.live_runs == 0


def test_runs_too_old_to_clear_are_refused(make_lab) -> None:  # type: ignore[no-untyped-def]
    lab = make_lab(limits=Limits(keep_finished_runs=2))
    simple(lab, "a")
    for number in range(4):
        lab.now += times.SECOND
        lab.trigger(f"r{number}")
        lab.end("a", run_id=f"r{number}")
    message = rejected(lab, lab.command(clear_tasks={"run_id": "r0"}), "RUN_NOT_FOUND")
    assert "latest 2" in message
    assert lab.state.dropped == [("dag", "r0"), ("dag", "r1")]


# -- dynamic DAGs and callbacks ------------------------------------------------------------------------------------


def test_layout_is_computed_once_a_run(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(lab.dag(dynamic=True))
    lab.trigger()
    order = lab.order("__layout__")
    assert order.kind == 2
    computed = lab.dag(version="computed")
    computed.tasks.add(task_id="x")
    lab.definitions[("dag", "computed")] = computed
    lab.take(InboxMessage(task_report=lab.report(order, 1, layout_computed={"version": "computed"})))
    assert lab.ordered() == ["x"]
    lab.end("x")
    assert lab.run_state() == "success" and lab.orders == {}
    assert lab.records() == {("x", 1): ["success"]}


def test_layout_that_comes_after_its_run_was_marked_leaves_no_order(lab) -> None:  # type: ignore[no-untyped-def]
    """Found by seed 4249 of the simulation: the executor reported it again and again."""
    lab.publish(lab.dag(dynamic=True))
    lab.trigger()
    order = lab.order("__layout__")
    lab.command(mark_run={"run_id": "run", "state": 4})
    assert lab.run_state() == "failed"
    lab.take(InboxMessage(task_report=lab.report(order, 1, layout_computed={"version": "computed"})))
    assert lab.orders == {}


def test_layout_that_cannot_be_computed_fails_the_run(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(lab.dag(dynamic=True))
    lab.trigger()
    for number in (1, 2, 3):
        assert lab.order("__layout__").try_key.try_number == number
        lab.end("__layout__", Outcome.OUTCOME_FAILED, message="no such table")
    assert lab.run_state() == "failed" and "no such table" in lab.last("run_state_changed").reason
    assert lab.orders == {}


def test_callbacks_are_ordered_at_the_end(lab) -> None:  # type: ignore[no-untyped-def]
    made = lab.dag(has_failure_callback=True)
    made.tasks.add(task_id="a")
    lab.publish(made)
    lab.trigger()
    lab.end("a", Outcome.OUTCOME_FAILED)
    order = lab.order("__callback__")
    assert (order.kind, order.callback) == (3, "failure") and "a" in order.callback_reason
    lab.end("__callback__")
    assert lab.orders == {} and len(lab.executions) == 1
