"""Every DAG of the sample repository ends as `examples/expected.yaml` says, with one record for each try."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml

from e2e.harness import ROOT, Stack, unique, wait_for

STATED = yaml.safe_load((ROOT / "examples" / "expected.yaml").read_text())
EXPECTED: dict[str, dict[str, Any]] = STATED["dags"] | STATED["pinball"]
BY_HAND = sorted(dag_id for dag_id, expected in EXPECTED.items() if expected["how"] != "child")


@pytest.fixture(scope="module")
def runs(stack: Stack) -> dict[str, str]:
    """One run of every sample, all started together: dag id → run id."""
    wait_for("the samples", lambda: set(EXPECTED) <= stack.dag_ids(), 90)
    batch = unique("sample")
    for dag_id in BY_HAND:
        stack.trigger(dag_id, batch, EXPECTED[dag_id].get("conf"))
    found = dict.fromkeys(BY_HAND, batch)
    for dag_id in set(EXPECTED) - set(BY_HAND):
        started = wait_for(f"a run of {dag_id}", lambda dag_id=dag_id: list(stack.items(f"/dags/{dag_id}/runs")), 120)
        found[dag_id] = started[0]["run_id"]
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_sample_ends_as_stated(stack: Stack, runs: dict[str, str], dag_id: str) -> None:
    expected, run_id = EXPECTED[dag_id], runs[dag_id]
    run = stack.finished(dag_id, run_id, 300)
    # The try that computes a run's layout is listed with the run's tasks, but is none: it leaves no record.
    layouts = [task["state"] for task in stack.tasks(dag_id, run_id) if task["task_id"] == "__layout__"]
    assert layouts == (["success"] if expected.get("dynamic") else [])
    tasks = [task for task in stack.tasks(dag_id, run_id) if task["task_id"] != "__layout__"]
    ended = Counter((task["task_id"], task["state"]) for task in tasks)
    stated = Counter(
        {(task_id, task["state"]): task.get("instances", 1) for task_id, task in expected["tasks"].items()}
    )
    assert ended == stated
    assert run["state"] == expected["state"]
    tries = {task["task_id"]: task["try_number"] for task in tasks}
    stated_tries = {task_id: task.get("tries", 1) for task_id, task in expected["tasks"].items()}
    assert {t: n for t, n in tries.items() if stated_tries[t]} == {t: n for t, n in stated_tries.items() if n}
    records = Counter(
        (record.job_name, record.map_index, record.try_number)
        for record in stack.records(dag_id)
        if record.instance_id == run_id
    )
    assert records == Counter(
        {
            (task["task_id"], task["map_index"], number): 1
            for task in tasks
            for number in range(1, stated_tries[task["task_id"]] + 1)
        }
    )


def test_no_segment_of_a_sample_started_twice(stack: Stack, runs: dict[str, str]) -> None:
    for dag_id, run_id in runs.items():
        stack.finished(dag_id, run_id, 300)
    marks = [path for path in (stack.samples / "marks").rglob("*") if path.is_file()]
    assert len(marks) > 100, "the samples leave marks"
    twice = {}
    for path in marks:
        lines = path.read_text().splitlines()
        if len(lines) != len(set(lines)):
            twice[str(path)] = lines
    assert twice == {}
