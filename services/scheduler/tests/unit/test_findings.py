"""What the simulation and its seeds have found, each as the shortest story that shows it."""

from __future__ import annotations

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import BackfillAction
from spinner_proto.inbox.v1.inbox_pb2 import CreateBackfill, InboxMessage, ReprocessBehavior
from spinner_scheduler.domain import times
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.simulation.invariants import check_sums

HOUR = 3_600
SLOTS = 1
# Long after any time-out.
LATE = 1_760_000_400 * times.SECOND + 24 * HOUR * times.SECOND


@pytest.fixture
def narrow(make_lab):  # type: ignore[no-untyped-def]
    """A default pool of one slot."""
    return make_lab(limits=Limits(default_pool_slots=SLOTS))


def two_tasks(lab) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag()
    made.tasks.add(task_id="a")
    made.tasks.add(task_id="b")
    return made


def used(lab) -> int:  # type: ignore[no-untyped-def]
    return lab.state.pools["default_pool"].used


def test_a_deferred_task_that_is_cleared_takes_no_slot_that_another_has(narrow) -> None:  # type: ignore[no-untyped-def]
    """Seed 138."""
    narrow.publish(two_tasks(narrow))
    narrow.trigger()
    order = narrow.order("a")
    narrow.take(InboxMessage(task_report=narrow.report(order, 3, deferred={"trigger_class": "t"})))
    assert narrow.states() == {"a": "deferred", "b": "queued"} and used(narrow) == SLOTS
    narrow.command(clear_tasks={"run_id": "run", "task_ids": ["a"]})
    assert used(narrow) == SLOTS
    assert narrow.records()[("a", 1)] == ["failed"]
    narrow.end("b")
    assert narrow.order("a").try_key.try_number == 2
    narrow.end("a")
    assert narrow.run_state() == "success" and used(narrow) == 0


def test_a_run_that_is_stopped_while_a_task_is_being_cleared_ends(lab) -> None:  # type: ignore[no-untyped-def]
    """Seed 295."""
    made = lab.dag()
    made.dagrun_timeout.FromSeconds(60)
    made.tasks.add(task_id="a")
    lab.publish(made)
    lab.trigger()
    lab.start("a")
    lab.command(clear_tasks={"run_id": "run"})
    assert lab.states() == {"a": "restarting"}
    lab.at(70)
    assert lab.run_state() == "failed"
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.states() == {"a": "failed"} and lab.orders == {}
    assert not lab.state.dags["dag"].runs and used(lab) == 0


def test_a_backfill_passes_over_a_run_whose_tasks_are_being_killed(lab) -> None:  # type: ignore[no-untyped-def]
    """Seed 67: the slot was never given back."""
    made = lab.dag()
    made.schedule.cron.expressions.append("0 * * * *")
    made.start_date.CopyFrom(times.to_timestamp(lab.now - HOUR * times.SECOND))
    made.tasks.add(task_id="a")
    lab.publish(made)
    (run,) = lab.runs()
    lab.start("a", run)
    lab.command(stop_run={"run_id": run})
    wish = CreateBackfill(
        backfill_id="b", reprocess_behavior=ReprocessBehavior.REPROCESS_BEHAVIOR_COMPLETED, max_active_runs=1
    )
    wish.from_date.CopyFrom(times.to_timestamp(lab.now - HOUR * times.SECOND))
    wish.to_date.CopyFrom(times.to_timestamp(lab.now))
    lab.command(create_backfill=wish)
    (interval,) = lab.last("backfill_advanced").intervals
    assert interval.action == BackfillAction.BACKFILL_ACTION_SKIP
    assert interval.reason == f"tasks of run {run} of this interval are being killed"
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER, run)
    assert lab.run_state(run) == "failed" and used(lab) == 0
    check_sums(lab.state)


def waiting(lab) -> list[str]:  # type: ignore[no-untyped-def]
    """Tasks of the run that wait for a slot, after a look at whether replay would say the same."""
    check_sums(lab.state)
    run = lab.state.dags["dag"].runs["run"]
    return [run.layout.task_ids[slot] for slot in sorted(run.wanted)]


def deferred_run(lab, **deferral: object) -> None:  # type: ignore[no-untyped-def]
    """A run with a deferred task, whose own time-out comes before that of the task."""
    made = lab.dag()
    made.dagrun_timeout.FromSeconds(60)
    made.tasks.add(task_id="a")
    lab.publish(made)
    lab.trigger()
    lab.start("a")
    lab.take(InboxMessage(task_report=lab.report(lab.order("a"), 3, deferred={"trigger_class": "t", **deferral})))
    assert lab.states() == {"a": "deferred"}


def test_a_deferred_task_of_a_run_that_is_stopped_is_not_resumed_by_a_time_out_of_the_same_moment(lab) -> None:  # type: ignore[no-untyped-def]
    """Seeds 2011 and 2016: the run's time-out and the trigger's ring in one decision.

    The task became scheduled in a run that had ended. That run's owner had dropped it from what waits, beside its
    events, and the next owner, who knows events only, had not.
    """
    deferred_run(lab, timeout={"seconds": 60})
    lab.now = LATE
    lab.take()
    assert lab.run_state() == "failed"
    assert lab.states() == {"a": "deferred"} and waiting(lab) == []
    lab.end("a", Outcome.OUTCOME_KILLED_BY_USER)
    assert lab.states() == {"a": "failed"}


def test_nobody_decides_a_task_that_is_being_killed(lab) -> None:  # type: ignore[no-untyped-def]
    """The same by a person's hand."""
    deferred_run(lab, human={"options": ["yes"]})
    lab.command(stop_run={"run_id": "run"})
    answer = lab.command(decide_task={"run_id": "run", "task_id": "a", "map_index": -1, "chosen_options": ["yes"]})
    assert answer is not None and answer.command_rejected.code == "NOT_WAITING", answer
    assert waiting(lab) == []
