"""What a clear would do is what it does (B4): chosen tasks, setups and teardowns, kills, another version."""

from __future__ import annotations

from typing import Any

import pytest
from spinner_proto.common.v1.common_pb2 import Outcome, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import ClearEffect, ClearPlan, ClearReason
from spinner_proto.inbox.v1.inbox_pb2 import ClearTasks
from spinner_scheduler.domain.commands import preview_clear
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.snapshots import encode_run


def preview(lab: Any, most: int = 100, **wish: object) -> ClearPlan:
    before = encode_run(lab.state.dags["dag"].runs["run"]) if "run" in lab.state.dags["dag"].runs else None
    plan = preview_clear(lab.state, "dag", ClearTasks(run_id="run", **wish), most)  # type: ignore[arg-type]
    after = encode_run(lab.state.dags["dag"].runs["run"]) if before is not None else None
    assert before == after, "asking changes nothing"
    return plan


def told(plan: ClearPlan) -> dict[str, tuple[str, str]]:
    """Effect and reason by task."""
    return {
        task.task_id + (f"[{task.map_index}]" if task.map_index >= 0 else ""): (
            ClearEffect.Name(task.effect).removeprefix("CLEAR_EFFECT_").lower(),
            ClearReason.Name(task.reason).removeprefix("CLEAR_REASON_").lower(),
        )
        for task in plan.tasks
    }


def dag(lab: Any, *tasks: tuple[str, list[int]], version: str = "v1") -> DagDefinition:
    made: DagDefinition = lab.dag(version=version)
    for task_id, upstream in tasks:
        made.tasks.add(task_id=task_id, upstream=upstream)
    return made


def cleared(lab: Any, since: int) -> set[str]:
    """Task instances that start again, by the events."""
    found = set()
    for _, _, event in lab.events[since:]:
        if event.HasField("task_cleared"):
            found.add(event.task_cleared.task_id)
        elif event.task_state_changed.state == TaskState.TASK_STATE_RESTARTING:
            found.add(event.task_state_changed.task_id)
    return found


def test_setups_and_teardowns_that_run_again_are_told(lab) -> None:  # type: ignore[no-untyped-def]
    made = dag(lab, ("setup", []), ("work", [0]), ("teardown", [1]), ("other", [0]))
    made.tasks[0].is_setup = True
    made.tasks[2].is_teardown = True
    made.tasks[2].setups.append(0)
    made.tasks[2].upstream.append(0)
    lab.publish(made)
    lab.trigger()
    for task in ("setup", "work", "other", "teardown"):
        lab.end(task)
    plan = preview(lab, task_ids=["work"])
    assert told(plan) == {
        "setup": ("rerun", "setup_teardown"),
        "work": ("rerun", "chosen"),
        "teardown": ("rerun", "setup_teardown"),
    }
    since = len(lab.events)
    answer = lab.command(clear_tasks={"run_id": "run", "task_ids": ["work"]})
    assert cleared(lab, since) == set(told(plan))
    assert answer.command_accepted.clear_plan == plan
    assert answer.command_accepted.task_count == plan.task_count == 3


def test_directions_and_kills_are_told(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(dag(lab, ("a", []), ("b", [0]), ("c", [1]), ("d", [1]), ("e", [2])))
    lab.trigger()
    for task in ("a", "b", "d"):
        lab.end(task)
    lab.start("c")
    plan = preview(lab, task_ids=["b"], upstream=True, downstream=True)
    # e has not started: there is nothing to clear.
    assert told(plan) == {
        "a": ("rerun", "upstream"),
        "b": ("rerun", "chosen"),
        "c": ("kill", "downstream"),
        "d": ("rerun", "downstream"),
    }
    assert (plan.task_count, plan.killed_count, plan.run_count, plan.version) == (4, 1, 1, "")
    since = len(lab.events)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["b"], "upstream": True, "downstream": True})
    assert cleared(lab, since) == set(told(plan))


def test_what_the_latest_version_removes_adds_and_kills_is_told(lab) -> None:  # type: ignore[no-untyped-def]
    old = dag(lab, ("done", []), ("chosen", [0]), ("other", [0]), ("gone", [0]), ("waits", [1]))
    lab.publish(old)
    lab.trigger()
    lab.end("done")
    for task in ("chosen", "other", "gone"):
        lab.start(task)
    lab.publish(dag(lab, ("done", []), ("added", [0]), ("chosen", [0]), ("other", [0]), ("waits", [2]), version="v2"))
    as_it_was = preview(lab, task_ids=["chosen"])
    assert told(as_it_was) == {"chosen": ("kill", "chosen")} and as_it_was.version == ""
    plan = preview(lab, task_ids=["chosen"], latest_version=True)
    assert told(plan) == {
        "chosen": ("kill", "chosen"),
        "other": ("kill", "version"),
        "gone": ("removed", "version"),
        "added": ("added", "version"),
    }
    assert (plan.task_count, plan.killed_count, plan.removed_count, plan.added_count) == (2, 3, 1, 1)
    assert plan.version == "v2"
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["chosen"], "latest_version": True})
    for task in ("chosen", "other", "gone"):
        lab.end(task, Outcome.OUTCOME_KILLED_BY_USER)
    states = lab.states()
    assert states["gone"] == "removed" and states["done"] == "success"
    assert lab.ordered() == ["added", "chosen", "other"]


def test_a_mapped_task_that_is_mapped_no_more_starts_again(lab) -> None:  # type: ignore[no-untyped-def]
    old = dag(lab, ("list", []), ("each", [0]), ("end", [1]))
    old.tasks[0].reports_length = True
    old.tasks[1].map_length.task = 0
    lab.publish(old)
    lab.trigger()
    lab.end("list", return_length=2)
    lab.end("each", map_index=0)
    lab.end("each", map_index=1)
    lab.end("end")
    lab.publish(dag(lab, ("list", []), ("each", [0]), ("end", [1]), version="v2"))
    plan = preview(lab, task_ids=["end"], latest_version=True)
    assert told(plan)["end"] == ("rerun", "chosen")
    assert {name: how for name, how in told(plan).items() if name.startswith("each")} == {
        "each[0]": ("rerun", "version"),
        "each[1]": ("rerun", "version"),
    }
    since = len(lab.events)
    lab.command(clear_tasks={"run_id": "run", "task_ids": ["end"], "latest_version": True})
    assert cleared(lab, since) == {"end", "each"}


def test_only_the_first_of_many_are_listed_and_all_are_counted(lab) -> None:  # type: ignore[no-untyped-def]
    lab.publish(dag(lab, *((f"t{number}", []) for number in range(30))))
    lab.trigger()
    for number in range(30):
        lab.end(f"t{number}")
    plan = preview(lab, most=10)
    assert (len(plan.tasks), plan.task_count) == (10, 30)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"run_id": "nope"}, "RUN_NOT_FOUND"),
        ({"run_id": "run", "task_ids": ["nope"]}, "TASK_NOT_FOUND"),
        ({"run_id": "run", "only_failed": True}, "NOTHING_TO_CLEAR"),
    ],
)
def test_it_is_refused_as_the_clear_is(lab, wish: dict[str, Any], code: str) -> None:  # type: ignore[no-untyped-def]
    lab.publish(dag(lab, ("a", [])))
    lab.trigger()
    lab.end("a")
    with pytest.raises(Rejected) as refusal:
        preview_clear(lab.state, "dag", ClearTasks(**wish), 10)
    answer = lab.command(clear_tasks=wish)
    assert answer.command_rejected.code == refusal.value.code == code
    assert answer.command_rejected.message == str(refusal.value)
