"""What holds ready tasks back, and which goes first: limits, priorities, earlier runs (B2)."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition

from services.scheduler.tests.unit.dags import FAILED, begin, chain


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
