"""Deadlines are watched, met, missed, and foreseen (B7)."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, DeadlineReference
from spinner_proto.events.v1.events_pb2 import DeadlineState
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_scheduler.domain import times

QUEUED = DeadlineReference.DEADLINE_REFERENCE_QUEUED_TIME


def dag(lab, *task_ids: str, **fields: object) -> DagDefinition:  # type: ignore[no-untyped-def]
    made = lab.dag(**fields)
    for position, task_id in enumerate(task_ids or ("a",)):
        made.tasks.add(task_id=task_id, upstream=[position - 1] if position else [])
    return made


def deadline(made: DagDefinition, seconds: int, reference: int = QUEUED, **fields: object) -> None:
    found = made.deadlines.add(name=f"by {seconds}", reference=reference, **fields)  # type: ignore[arg-type]
    found.interval.CopyFrom(Duration(seconds=seconds))


def told(lab, run_id: str = "run") -> list[str]:  # type: ignore[no-untyped-def]
    """How the deadlines of a run changed, in order."""
    changes = [e.deadline_changed for _, r, e in lab.events if r == run_id and e.HasField("deadline_changed")]
    return [DeadlineState.Name(change.state).removeprefix("DEADLINE_STATE_").lower() for change in changes]


def callbacks(lab) -> list[TaskOrder]:  # type: ignore[no-untyped-def]
    return [order for order in lab.orders.values() if order.callback == "deadline"]


def live(lab, run_id: str, seconds: float, at: float) -> None:  # type: ignore[no-untyped-def]
    """A run that takes so long, from `at` on."""
    lab.at(at)
    lab.trigger(run_id)
    lab.at(at + seconds)
    lab.end("a", run_id=run_id)


def test_a_run_in_time_meets_its_deadline(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 60, has_callback=True)
    lab.publish(made)
    live(lab, "run", 59, 0)
    lab.at(1000)
    assert told(lab) == ["pending", "met"]
    assert callbacks(lab) == []


def test_a_late_run_misses_it_once_and_goes_on(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 60, has_callback=True)
    lab.publish(made)
    lab.trigger()
    lab.at(59)
    assert told(lab) == ["pending"]
    lab.at(61)
    assert told(lab) == ["pending", "missed"]
    (order,) = callbacks(lab)
    assert order.deadline_name == "by 60"
    assert times.from_timestamp(order.deadline_time) == lab.epoch + 60 * times.SECOND
    lab.end("a")
    assert lab.run_state() == "success"
    assert told(lab) == ["pending", "missed"]


def test_the_clock_does_not_stop_for_a_pause_or_a_queue(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab, max_active_runs=1)
    deadline(made, 60)
    lab.publish(made)
    lab.trigger("one")
    lab.trigger("two")
    lab.command(set_paused={"paused": True})
    lab.at(61)
    assert told(lab, "one") == told(lab, "two") == ["pending", "missed"]


def test_references(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 100, DeadlineReference.DEADLINE_REFERENCE_LOGICAL_DATE)
    fixed = times.to_timestamp(lab.epoch + 500 * times.SECOND)
    deadline(made, -10, DeadlineReference.DEADLINE_REFERENCE_FIXED_TIME, fixed_time=fixed)
    lab.publish(made)
    lab.command(trigger_run={"run_id": "run", "logical_date": times.to_timestamp(lab.epoch - 30 * times.SECOND)})
    due = [e.deadline_changed.deadline_time for _, _, e in lab.events if e.HasField("deadline_changed")]
    assert [(times.from_timestamp(at) - lab.epoch) // times.SECOND for at in due] == [70, 490]


def test_a_deadline_in_the_past_is_missed_at_once(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, -10, DeadlineReference.DEADLINE_REFERENCE_LOGICAL_DATE)
    lab.publish(made)
    lab.trigger()
    assert told(lab) == ["pending", "missed"]


def test_a_task_has_a_deadline_of_its_own(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab, "a", "b")
    deadline(made, 60, task_id="a")
    deadline(made, 90, task_id="b")
    lab.publish(made)
    lab.trigger()
    lab.at(30)
    lab.end("a")
    assert told(lab) == ["pending", "pending", "met"]
    lab.at(91)
    assert told(lab)[-1] == "missed"


def test_a_failed_run_drops_its_deadline_and_has_it_again_when_cleared(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 60)
    lab.publish(made)
    lab.trigger()
    lab.end("a", Outcome.OUTCOME_FAILED)
    assert told(lab) == ["pending", "dropped"]
    lab.command(clear_tasks={"run_id": "run"})
    lab.at(61)
    assert told(lab) == ["pending", "dropped", "pending", "missed"]


def test_a_miss_is_foreseen_from_the_median_of_runs_before(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab, max_active_runs=1)
    deadline(made, 100, has_callback=True, callback_on_prediction=True)
    lab.publish(made)
    for number, seconds in enumerate((50, 60, 90)):
        live(lab, f"before {number}".replace(" ", "_"), seconds, number * 100)
    assert callbacks(lab) == []
    lab.at(1000)
    lab.trigger("first")
    lab.trigger("second")
    lab.at(1039)
    assert told(lab, "second") == ["pending"]
    # Started 41 s after it was queued and 60 s long, it ends a second late.
    lab.at(1041)
    assert told(lab, "second") == ["pending", "at_risk"]
    risk = [e.deadline_changed for _, r, e in lab.events if r == "second" and e.HasField("deadline_changed")][-1]
    assert (risk.median_duration.seconds, risk.run_count) == (60, 3)
    (order,) = callbacks(lab)
    assert order.deadline_predicted
    lab.end("a", run_id="first")
    lab.at(1050)
    lab.end("a", run_id="second")
    assert told(lab, "second") == ["pending", "at_risk", "met"]


def test_few_runs_foretell_nothing(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 10)
    lab.publish(made)
    for number in range(2):
        live(lab, f"before_{number}", 50, number * 100)
    lab.trigger()
    assert told(lab) == ["pending"]


def test_average_runtime_waits_for_enough_runs(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 5, DeadlineReference.DEADLINE_REFERENCE_AVERAGE_RUNTIME, max_runs=3, min_runs=2)
    lab.publish(made)
    live(lab, "one", 10, 0)
    live(lab, "two", 30, 100)
    assert told(lab, "one") == told(lab, "two") == []
    lab.at(200)
    lab.trigger()
    at = lab.last("deadline_changed").deadline_time
    assert times.from_timestamp(at) == lab.epoch + 225 * times.SECOND


def test_only_the_latest_thirty_runs_are_kept(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 1000)
    lab.publish(made)
    for number in range(35):
        live(lab, f"run_{number}", number + 1, number * 100)
    kept = [measured.duration.seconds for measured in lab.state.dags["dag"].measured]
    assert kept == list(range(6, 36))


@pytest.mark.parametrize("name", ["by 60", "by 70"])
def test_a_run_that_takes_another_version_keeps_deadlines_of_the_same_name(lab, name: str) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab)
    deadline(made, 60)
    lab.publish(made)
    lab.trigger()
    lab.end("a", Outcome.OUTCOME_FAILED)
    newer = dag(lab, version="v2")
    deadline(newer, 70 if name == "by 70" else 60)
    lab.publish(newer)
    lab.command(clear_tasks={"run_id": "run", "latest_version": True})
    lab.at(62)
    assert told(lab)[-1] == ("missed" if name == "by 60" else "pending")
