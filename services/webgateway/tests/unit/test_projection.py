"""Events become row changes; pure."""

from __future__ import annotations

from typing import Any

import pytest
from spinner_proto.common.v1 import common_pb2
from spinner_proto.events.v1 import events_pb2
from spinner_webgateway.domain import projection
from spinner_webgateway.domain.projection import Position
from spinner_webgateway.domain.rows import WorkingSet
from spinner_webgateway.domain.run_rows import task_counts
from spinner_webgateway.domain.unreadable import Unreadable


class Views:
    """Applies records to one working set that has everything loaded."""

    def __init__(self) -> None:
        self.rows = WorkingSet()
        self.offset = 0

    def apply(self, *messages: events_pb2.WorkflowEvents) -> Views:
        for message in messages:
            for table, key in self.rows.missing(projection.needs(message)):
                self.rows.loaded(table, key, None)
            projection.apply(self.rows, message, Position("spinner_tier_1", 0, self.offset))
            self.offset += 1
        return self

    def run(self) -> dict[str, Any]:
        return self.rows.get("runs", ("etl", "r1")) or {}

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any] | None:
        return self.rows.get("tasks", ("etl", "r1", task_id, map_index))

    def attempt(self, task_id: str, number: int, map_index: int = -1) -> dict[str, Any]:
        return self.rows.get("tries", ("etl", "r1", task_id, map_index, number)) or {}


def test_a_new_run_needs_one_row_whatever_its_size(script: Any) -> None:
    views = Views().apply(script.created("etl", "r1", tasks=5000))
    assert task_counts(views.run()) == {"none": 5000}
    assert views.rows.changed["tasks"] == {}


def test_counts_follow_every_step(script: Any) -> None:
    views = Views().apply(script.created("etl", "r1", 3), script.task("etl", "r1", "t0", "running"))
    assert task_counts(views.run()) == {"none": 2, "running": 1}
    views.apply(script.ended("etl", "r1", "t0", "failed"), script.task("etl", "r1", "t1", "upstream_failed", 0))
    assert task_counts(views.run()) == {"none": 1, "failed": 1, "upstream_failed": 1}
    cleared = events_pb2.WorkflowEvent(task_cleared=events_pb2.TaskCleared(task_id="t0", map_index=-1))
    views.apply(script.record("etl", "r1", cleared))
    assert task_counts(views.run()) == {"none": 2, "upstream_failed": 1}


def test_an_expansion_replaces_the_mapped_task_by_its_instances(script: Any) -> None:
    views = Views().apply(script.created("etl", "r1", 2), script.task("etl", "r1", "t1", "scheduled", 0))
    expanded = events_pb2.WorkflowEvent(task_expanded=events_pb2.TaskExpanded(task_id="t1", length=4))
    views.apply(script.record("etl", "r1", expanded), script.ended("etl", "r1", "t1", "success", map_index=2))
    assert views.task("t1") is None
    assert task_counts(views.run()) == {"none": 4, "success": 1}


def test_an_empty_expansion_keeps_the_one_instance_that_is_skipped(script: Any) -> None:
    expanded = events_pb2.WorkflowEvent(task_expanded=events_pb2.TaskExpanded(task_id="t1", length=0))
    views = Views().apply(
        script.created("etl", "r1", 2),
        script.record("etl", "r1", expanded),
        script.task("etl", "r1", "t1", "skipped", 0),
    )
    assert task_counts(views.run()) == {"none": 1, "skipped": 1}


def test_each_try_keeps_its_own_end(script: Any) -> None:
    views = Views().apply(
        script.created("etl", "r1"),
        script.task("etl", "r1", "t0", "running", 1, worker="w1", executor="127.0.0.1:1"),
        script.ended("etl", "r1", "t0", "up_for_retry", 1, message="boom", exit_code=1),
        script.task("etl", "r1", "t0", "running", 2, worker="w2"),
    )
    first, second, task = views.attempt("t0", 1), views.attempt("t0", 2), views.task("t0")
    assert (first["outcome"], first["message"], first["worker"]) == ("failed", "boom", "w1")
    assert (second["state"], second["worker"], second["end_time"]) == ("running", "w2", None)
    assert task is not None
    assert (task["try_number"], task["failed_try"], task["state"]) == (2, 1, "running")


def test_a_deferral_goes_on_with_the_same_start(script: Any) -> None:
    views = Views().apply(script.created("etl", "r1"), script.task("etl", "r1", "t0", "running"))
    start = views.attempt("t0", 1)["start_time"]
    views.apply(script.task("etl", "r1", "t0", "deferred"), script.task("etl", "r1", "t0", "running", segment=2))
    assert views.attempt("t0", 1)["start_time"] == start


def test_a_cleared_run_is_open_again(script: Any) -> None:
    views = Views().apply(script.created("etl", "r1"), script.run_state("etl", "r1", "failed"))
    assert views.run()["end_time"] is not None
    views.apply(script.run_state("etl", "r1", "running"))
    assert views.run()["end_time"] is None
    dag = views.rows.get("dags", ("etl",))
    assert dag is not None
    assert dag["last_run_state"] == "running"


def test_a_dag_remembers_its_latest_run_only(script: Any) -> None:
    first = script.created("etl", "r1")
    views = Views().apply(script.created("etl", "r2"), first, script.run_state("etl", "r1", "failed"))
    dag = views.rows.get("dags", ("etl",))
    assert dag is not None
    assert (dag["last_run_id"], dag["last_run_state"]) == ("r2", "queued")


@pytest.mark.parametrize(
    "message",
    [
        events_pb2.WorkflowEvents(run_id="r1"),
        events_pb2.WorkflowEvents(dag_id="d" * 300),
        events_pb2.WorkflowEvents(
            dag_id="etl", run_id="r1", events=[events_pb2.WorkflowEvent(task_ended=events_pb2.TaskEnded())]
        ),
        events_pb2.WorkflowEvents(dag_id="etl", events=[events_pb2.WorkflowEvent(run_created=events_pb2.RunCreated())]),
        events_pb2.WorkflowEvents(
            dag_id="etl", events=[events_pb2.WorkflowEvent(command_accepted=events_pb2.CommandAccepted())]
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_changes_anything(message: events_pb2.WorkflowEvents) -> None:
    rows = WorkingSet()
    with pytest.raises(Unreadable):
        projection.apply(rows, message, Position("c", 0, 0))
    assert not any(rows.changed.values())


def test_an_event_of_a_later_version_is_kept_and_changes_nothing(script: Any) -> None:
    views = Views().apply(script.record("etl", "r1", events_pb2.WorkflowEvent()))
    assert len(views.rows.changed["run_events"]) == 1
    assert views.rows.changed["runs"] == {}


def test_a_marked_task_says_so(script: Any) -> None:
    views = Views().apply(
        script.created("etl", "r1"),
        script.task("etl", "r1", "t0", "success", 0, marked=True, actor=common_pb2.Actor(name="user:alice")),
    )
    task = views.task("t0")
    assert task is not None
    assert (task["marked"], task["state"], task["try_number"]) == (True, "success", 0)
