"""Mapped tasks and groups: how far they expand, and what an instance means for the rest (B2)."""

from __future__ import annotations

import pytest
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

from services.scheduler.tests.unit.dags import FAILED, begin


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
