"""Backfills: each interval gets one run, a few at a time, beside the schedule (B5)."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome, RunState, RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import BackfillAction, BackfillCreated, BackfillState
from spinner_proto.explain.v1.explain_pb2 import Subject
from spinner_proto.inbox.v1.inbox_pb2 import CreateBackfill, InboxMessage, PoolMessage, ReprocessBehavior, RunOrder
from spinner_scheduler.domain import times
from spinner_scheduler.domain.backfill import TRANSITIONS, Backfill
from spinner_scheduler.domain.explain import explain
from spinner_scheduler.domain.limits import Limits

HOUR = 3600
BACKWARD = RunOrder.RUN_ORDER_BACKWARD
COMPLETED = ReprocessBehavior.REPROCESS_BEHAVIOR_COMPLETED
FAILED = ReprocessBehavior.REPROCESS_BEHAVIOR_FAILED


def hourly(lab, tasks=("a",), **fields: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    """Hourly; without catch-up its first scheduled run is 08:00."""
    made = lab.dag(**fields)
    made.schedule.cron.expressions.append("0 * * * *")
    made.start_date.CopyFrom(times.to_timestamp(lab.now - 3 * HOUR * times.SECOND))
    for position, task_id in enumerate(tasks):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def ask(lab, first: int, last: int, backfill_id: str = "b1", **fields: object):  # type: ignore[no-untyped-def]
    """A backfill of the logical dates from `first` to `last`, in hours of the day (the lab starts at 09:00)."""
    wish = CreateBackfill(backfill_id=backfill_id, **fields)  # type: ignore[arg-type]
    wish.from_date.CopyFrom(times.to_timestamp(lab.now + (first - 9) * HOUR * times.SECOND))
    wish.to_date.CopyFrom(times.to_timestamp(lab.now + (last - 9) * HOUR * times.SECOND))
    return lab.command(create_backfill=wish)


def run_of(hour: int, kind: str = "backfill") -> str:
    return f"{kind}__2025-10-09T{hour:02}:00:00+00:00"


def state(lab, backfill_id: str = "b1") -> str:  # type: ignore[no-untyped-def]
    found = [e.backfill_state_changed for _, _, e in lab.events if e.HasField("backfill_state_changed")]
    states = [event.state for event in found if event.backfill_id == backfill_id]
    return BackfillState.Name(states[-1]).removeprefix("BACKFILL_STATE_").lower() if states else "created"


def intervals(lab) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """What was done with each interval, in order: the action and the hour."""
    return [
        (
            BackfillAction.Name(interval.action).removeprefix("BACKFILL_ACTION_").lower(),
            times.text(times.from_timestamp(interval.logical_date))[11:13],
        )
        for _, _, event in lab.events
        if event.HasField("backfill_advanced")
        for interval in event.backfill_advanced.intervals
    ]


def backfilled(lab) -> list[str]:  # type: ignore[no-untyped-def]
    return [run_id for run_id in lab.runs() if run_id.startswith("backfill")]


def code(answer) -> str:  # type: ignore[no-untyped-def]
    assert answer is not None and answer.HasField("command_rejected"), answer
    return str(answer.command_rejected.code)


def test_every_interval_gets_one_run_and_the_backfill_ends(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    answer = ask(lab, 2, 5, max_active_runs=2)
    assert answer.command_accepted.task_count == 4
    made = []
    while backfilled(lab)[len(made) :]:
        made.append(backfilled(lab)[len(made)])
        assert len([o for o in lab.orders.values() if o.try_key.run_id.startswith("backfill")]) <= 2
        lab.end("a", run_id=made[-1])
    assert made == [run_of(2), run_of(3), run_of(4), run_of(5)]
    assert state(lab) == "done"
    created = [e.run_created for _, r, e in lab.events if r in made and e.HasField("run_created")]
    assert {event.run_type for event in created} == {RunType.RUN_TYPE_BACKFILL}
    assert times.text(times.from_timestamp(created[0].data_interval_end)) == "2025-10-09T03:00:00+00:00"


def test_backward_begins_with_the_latest(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    ask(lab, 2, 5, max_active_runs=1, run_order=BACKWARD)
    for hour in (5, 4, 3, 2):
        assert backfilled(lab)[-1] == run_of(hour)
        lab.end("a", run_id=run_of(hour))
    assert state(lab) == "done"


def test_a_repeated_request_makes_nothing_more(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    wish = CreateBackfill(backfill_id="b1")
    wish.from_date.CopyFrom(times.to_timestamp(lab.now - 5 * HOUR * times.SECOND))
    wish.to_date.CopyFrom(wish.from_date)
    lab.command(request_id="same", create_backfill=wish)
    lab.command(request_id="same", create_backfill=wish)
    # Also when the request is forgotten but the backfill is not.
    lab.command(request_id="other", create_backfill=wish)
    assert backfilled(lab) == [run_of(4)]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, catchup=True))
    lab.end("a", run_id=run_of(6, "scheduled"))
    lab.end("a", Outcome.OUTCOME_FAILED, run_id=run_of(7, "scheduled"))
    before = len(lab.events)
    plan = ask(lab, 5, 12, reprocess_behavior=FAILED, dry_run=True).command_accepted.backfill_plan
    found = [(BackfillAction.Name(i.action)[16:].lower(), i.run_id) for i in plan.intervals]
    # From 09:00 on the intervals are not over yet.
    assert found == [
        ("create", run_of(5)),
        ("skip", run_of(6, "scheduled")),
        ("reprocess", run_of(7, "scheduled")),
        ("skip", run_of(8, "scheduled")),
    ]
    assert "success" in plan.intervals[1].reason and "running" in plan.intervals[3].reason
    assert (plan.interval_count, plan.create_count, plan.reprocess_count, plan.skip_count) == (4, 1, 1, 2)
    assert len(lab.events) == before + 1


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [(0, "skip skip skip"), (FAILED, "skip reprocess skip"), (COMPLETED, "reprocess reprocess skip")],
)
def test_what_happens_to_runs_that_exist(lab, behavior: int, expected: str) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, catchup=True))
    lab.end("a", run_id=run_of(6, "scheduled"))
    lab.end("a", Outcome.OUTCOME_FAILED, run_id=run_of(7, "scheduled"))
    ask(lab, 6, 8, reprocess_behavior=behavior)
    assert " ".join(action for action, _ in intervals(lab)) == expected
    assert backfilled(lab) == []
    for order in [o for o in lab.orders.values() if o.try_key.run_id != run_of(8, "scheduled")]:
        assert (order.try_key.try_number, order.pool, order.run_type) == (2, "backfill", RunType.RUN_TYPE_BACKFILL)
        lab.end("a", run_id=order.try_key.run_id)
        assert lab.run_state(order.try_key.run_id) == "success"
    assert state(lab) == "done"


def test_runs_that_only_the_views_know_are_not_doubled(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    known = [
        {"logical_date": times.to_timestamp(lab.now - hours * HOUR * times.SECOND), "state": found}
        for hours, found in ((6, RunState.RUN_STATE_SUCCESS), (5, RunState.RUN_STATE_FAILED))
    ]
    ask(lab, 3, 4, reprocess_behavior=FAILED, known_runs=known)
    assert [action for action, _ in intervals(lab)] == ["skip", "create"]
    assert backfilled(lab) == [f"{run_of(4)}~b1"]


def test_the_schedule_goes_on_beside_it_and_repeats_none_of_its_intervals(lab) -> None:  # type: ignore[no-untyped-def]
    # Catch-up is behind: one run at once, and the backfill takes what the schedule has not come to.
    lab.publish(hourly(lab, catchup=True, max_active_runs=1))
    assert lab.runs() == [run_of(6, "scheduled")]
    ask(lab, 7, 7)
    assert lab.ordered(run_of(6, "scheduled")) == ["a"] and lab.ordered(run_of(7)) == ["a"]
    lab.end("a", run_id=run_of(7))
    lab.end("a", run_id=run_of(6, "scheduled"))
    assert lab.runs() == [run_of(6, "scheduled"), run_of(7), run_of(8, "scheduled")]


def test_the_schedule_skips_what_a_backfill_did_even_when_the_run_is_forgotten(make_lab) -> None:  # type: ignore[no-untyped-def]
    lab = make_lab(limits=Limits(keep_finished_runs=1))
    lab.publish(hourly(lab, catchup=True, max_active_runs=1))
    ask(lab, 7, 8)
    for hour in (7, 8):
        lab.end("a", run_id=run_of(hour))
    ask(lab, 1, 2, "b2")
    for hour in (1, 2):
        lab.end("a", run_id=run_of(hour))
    lab.end("a", run_id=run_of(6, "scheduled"))
    lab.at(HOUR + 1)
    assert [run for run in lab.runs() if run.startswith("scheduled")] == [
        run_of(6, "scheduled"),
        run_of(9, "scheduled"),
    ]


def test_its_version_is_that_of_its_creation(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    ask(lab, 2, 3, max_active_runs=1)
    lab.publish(hourly(lab, tasks=("a", "b"), version="v2"))
    lab.end("a", run_id=run_of(2))
    lab.end("a", run_id=run_of(3))
    assert lab.run_state(run_of(3)) == "success" and state(lab) == "done"


def test_pause_resume_cancel(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, tasks=("a", "b")))
    ask(lab, 1, 5, max_active_runs=2)
    lab.command(pause_backfill={"backfill_id": "b1"})
    for task_id in ("a", "b"):
        lab.end(task_id, run_id=run_of(1))
    assert (state(lab), backfilled(lab)) == ("paused", [run_of(1), run_of(2)])
    lab.command(resume_backfill={"backfill_id": "b1"})
    assert (state(lab), backfilled(lab)) == ("running", [run_of(1), run_of(2), run_of(3)])
    answer = lab.command(cancel_backfill={"backfill_id": "b1"})
    assert answer.command_accepted.task_count == 0
    # What runs goes on to its end.
    for hour in (2, 3):
        for task_id in ("a", "b"):
            lab.end(task_id, run_id=run_of(hour))
        assert lab.run_state(run_of(hour)) == "success"
    assert (state(lab), len(backfilled(lab))) == ("cancelled", 3)
    assert code(lab.command(resume_backfill={"backfill_id": "b1"})) == "INVALID_STATE"
    assert code(lab.command(pause_backfill={"backfill_id": "nope"})) == "BACKFILL_NOT_FOUND"


def test_cancel_can_stop_what_runs(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    ask(lab, 1, 5, max_active_runs=2)
    answer = lab.command(cancel_backfill={"backfill_id": "b1", "stop_runs": True})
    assert answer.command_accepted.task_count == 2
    assert [lab.run_state(run_of(hour)) for hour in (1, 2)] == ["failed", "failed"]
    for hour in (1, 2):
        lab.end("a", Outcome.OUTCOME_KILLED_BY_USER, run_id=run_of(hour))
    assert (state(lab), len(backfilled(lab))) == ("cancelled", 2)


def test_a_paused_dag_holds_its_backfills_back(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, paused_upon_creation=True))
    ask(lab, 1, 2)
    assert (state(lab), backfilled(lab)) == ("created", [])
    lab.command(set_paused={"paused": False})
    assert (state(lab), len(backfilled(lab))) == ("running", 2)


def test_its_pool_takes_the_place_of_the_default_pool_only(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab)
    made.tasks.add(task_id="db", pool="database")
    lab.publish(made)
    for pool, slots in (("database", 1), ("backfill", 1)):
        lab.take(InboxMessage(pool=PoolMessage(pool=pool, changed={"slots": slots})))
    lab.end("db", run_id=run_of(8, "scheduled"))
    ask(lab, 1, 3)
    pools = sorted((o.pool, o.try_key.task_id) for o in lab.orders.values() if o.try_key.run_id.startswith("backfill"))
    assert pools == [("backfill", "a"), ("database", "db")]
    # The default pool is as free as before.
    lab.trigger("manual")
    assert lab.ordered("manual") == ["a"]


def test_tasks_of_a_backfill_queue_behind_others(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab)
    made.tasks[0].pool = "database"
    lab.publish(made)
    ask(lab, 1, 3)
    lab.trigger("manual")
    # Nothing runs yet: the pool is not declared.
    lab.take(InboxMessage(pool=PoolMessage(pool="database", changed={"slots": 2})))
    assert lab.ordered(run_of(8, "scheduled")) == ["a"] and lab.ordered("manual") == ["a"]
    assert lab.ordered(run_of(1)) == []


def test_only_the_listed_tasks_run_with_their_setups(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab, tasks=())
    made.tasks.add(task_id="make", is_setup=True)
    made.tasks.add(task_id="first", upstream=[0])
    made.tasks.add(task_id="second", upstream=[1])
    made.tasks.add(task_id="third", upstream=[2])
    # all done, setups succeeded
    made.tasks.add(task_id="drop", is_teardown=True, upstream=[0, 3], setups=[0], trigger_rule=12)
    lab.publish(made)
    ask(lab, 2, 2, task_ids=["second"])
    run = run_of(2)
    assert lab.ordered(run) == ["make"]
    lab.end("make", run_id=run)
    assert lab.ordered(run) == ["second"]
    lab.end("second", run_id=run)
    assert lab.ordered(run) == ["drop"]
    lab.end("drop", run_id=run)
    assert lab.run_state(run) == "success"
    assert lab.states(run) == {
        "make": "success", "first": "skipped", "second": "success", "third": "skipped", "drop": "success",
    }  # fmt: skip


def test_listed_tasks_keep_their_order(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, tasks=("a", "b", "c")))
    ask(lab, 2, 2, task_ids=["a", "c"])
    assert lab.ordered(run_of(2)) == ["a"]
    lab.end("a", run_id=run_of(2))
    assert lab.ordered(run_of(2)) == ["c"]


def test_a_listed_task_that_fails_fails_its_run(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, tasks=("a", "b", "c")))
    ask(lab, 2, 2, task_ids=["b"])
    lab.end("b", Outcome.OUTCOME_FAILED, run_id=run_of(2))
    assert lab.run_state(run_of(2)) == "failed"


def test_a_listed_task_needs_what_it_maps_over(lab) -> None:  # type: ignore[no-untyped-def]
    made = hourly(lab)
    made.tasks[0].reports_length = True
    made.tasks.add(task_id="b", upstream=[0]).map_length.task = 0
    lab.publish(made)
    assert code(ask(lab, 2, 2, task_ids=["b"])) == "TASK_MISSING"


def test_callbacks_can_be_switched_off(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, has_failure_callback=True))
    ask(lab, 2, 2, skip_callbacks=True)
    assert lab.order("a", run_of(2)).skip_callbacks
    lab.end("a", Outcome.OUTCOME_FAILED, run_id=run_of(2))
    assert not [key for key in lab.orders if "__callback__" in key]
    ask(lab, 3, 3, "b2")
    lab.end("a", Outcome.OUTCOME_FAILED, run_id=run_of(3))
    assert [key for key in lab.orders if "__callback__" in key]


def test_its_failures_do_not_pause_the_dag(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab, max_consecutive_failed_runs=1))
    ask(lab, 2, 2)
    lab.end("a", Outcome.OUTCOME_FAILED, run_id=run_of(2))
    assert not lab.last("dag_updated").paused


def test_explain_names_what_holds_its_runs(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    ask(lab, 1, 5, max_active_runs=1)
    lab.end("a", run_id=run_of(1))
    lab.command(clear_tasks={"run_id": run_of(1)})
    (reason,) = explain(lab.state, Subject(dag_id="dag", run_id=run_of(1)), lab.now).reasons
    assert (reason.code, [holder.run_id for holder in reason.holders]) == ("BACKFILL_MAX_ACTIVE_RUNS", [run_of(2)])
    lab.command(pause_backfill={"backfill_id": "b1"})
    (reason,) = explain(lab.state, Subject(dag_id="dag", run_id=run_of(1)), lab.now).reasons
    assert reason.code == "BACKFILL_PAUSED"


def test_refusals_say_why(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(hourly(lab))
    answer = ask(lab, 2, 3, task_ids=["a", "x", "y"])
    assert code(answer) == "TASK_NOT_FOUND" and "x, y" in answer.command_rejected.message
    assert code(ask(lab, 5, 3)) == "INVALID_ARGUMENT"
    assert code(ask(lab, 20, 22)) == "NOTHING_TO_BACKFILL"
    assert code(ask(lab, -20_000, 1)) == "TOO_MANY_RUNS"
    ask(lab, 2, 4, max_active_runs=1)
    assert code(ask(lab, 4, 5, "b2")) == "BACKFILL_OVERLAPS"
    past = hourly(lab, dag_id="past")
    past.tasks[0].depends_on_past = True
    lab.publish(past)
    wish = CreateBackfill(backfill_id="b", run_order=BACKWARD)
    wish.from_date.CopyFrom(times.to_timestamp(lab.now - 5 * HOUR * times.SECOND))
    wish.to_date.CopyFrom(wish.from_date)
    assert code(lab.command("past", create_backfill=wish)) == "INVALID_ORDER"
    unscheduled = lab.dag(dag_id="unscheduled")
    unscheduled.tasks.add(task_id="a")
    lab.publish(unscheduled)
    assert code(lab.command("unscheduled", create_backfill=wish)) == "NO_SCHEDULE"


@pytest.mark.parametrize("before", TRANSITIONS)
@pytest.mark.parametrize("after", TRANSITIONS)
def test_only_declared_transitions(before: int, after: int) -> None:
    backfill = Backfill(BackfillCreated(), before)
    if after in TRANSITIONS[before]:
        backfill.change(after)
        assert backfill.state == after
    else:
        with pytest.raises(ValueError, match="can't go from"):
            backfill.change(after)
