"""Every sample DAG, task by task in real workers, ends as examples/expected.yaml says.

The scheduler here is the smallest possible: topological order, and trigger rules only where samples need them. The
real one is asked in e2e.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from spinner.core.values import decode_json
from spinner.serialization import dag_to_definition, load_dag_file
from spinner.triggers import load_trigger
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.definitions.v1 import definitions_pb2 as pb
from spinner_proto.runtime.v1 import runtime_pb2 as rt

ROOT = Path(__file__).parents[3] / "examples"
EXPECTED = yaml.safe_load((ROOT / "expected.yaml").read_text())["dags"]
FILES = {
    dag_id: (path.relative_to(ROOT).as_posix(), dag)
    for path in sorted((ROOT / "dags").rglob("*.py"))
    for dag_id, dag in load_dag_file(ROOT, path.relative_to(ROOT).as_posix()).dags.items()
}


def test_every_sample_is_expected_and_every_expectation_has_a_sample():
    assert set(FILES) == set(EXPECTED)


def test_samples_are_in_the_folder_of_their_tier():
    for path, dag in FILES.values():
        assert path.split("/")[1].startswith(f"spinner_tier_{int(dag.tier)}_"), path


class Run:
    """One run of a sample."""

    def __init__(self, executor: Any, dag_id: str) -> None:
        self.executor = executor
        executor.bundle = ROOT
        self.path, self.dag = FILES[dag_id]
        self.conf: dict[str, Any] = EXPECTED[dag_id].get("conf", {})
        dag = self.dag.layout(datetime(2026, 3, 1, tzinfo=UTC), self.conf) if self.dag.is_dynamic else self.dag
        self.definition = dag_to_definition(dag)
        self.states: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.lengths: dict[str, int] = {}
        self.skipped: set[str] = set()

    def length(self, expression: pb.MapLength) -> int:
        kind = expression.WhichOneof("kind")
        if kind == "literal":
            return expression.literal
        if kind == "task":
            task = self.definition.tasks[expression.task]
            return self.lengths.get(task.task_id) or len(self.executor.xcom(task.task_id))
        counts = [self.length(item) for item in getattr(expression, kind).items]
        if kind == "product":
            result = 1
            for count in counts:
                result *= count
            return result
        return {"zip_shortest": min, "zip_longest": max, "concat": sum}[kind](counts)

    def go(self) -> None:
        for task in self.definition.tasks:
            self.states[task.task_id] = self.state_of(task)

    def state_of(self, task: pb.TaskDefinition) -> str:
        if task.task_id in self.skipped:
            return "skipped"
        blocked = self.blocked(task)
        if blocked:
            return blocked
        if task.inline_success:
            return "success"
        if not task.HasField("map_length"):
            return self.execute(task, -1, 0)
        count = self.lengths[task.task_id] = self.length(task.map_length)
        states = {self.execute(task, index, count) for index in range(count)}
        assert len(states) == 1
        return states.pop()

    def blocked(self, task: pb.TaskDefinition) -> str:
        above = [self.states[self.definition.tasks[position].task_id] for position in task.upstream]
        rule = pb.TriggerRule.Name(task.trigger_rule).removeprefix("TRIGGER_RULE_").lower()
        bad = any(state in ("failed", "upstream_failed") for state in above)
        if rule in ("all_success", "none_failed", "none_failed_min_one_success") and bad:
            return "upstream_failed"
        if rule in ("all_success", "none_skipped") and "skipped" in above:
            return "skipped"
        return "skipped" if rule in ("all_failed", "all_skipped") and "success" in above else ""

    def execute(self, task: pb.TaskDefinition, index: int, count: int) -> str:
        for number in range(1, task.retries + 2):
            self.tries[task.task_id] = number
            outcome = self.one_try(task, index, count, number)
            if outcome in ("success", "skipped"):
                return outcome
        return "failed"

    def one_try(self, task: pb.TaskDefinition, index: int, count: int, number: int) -> str:
        more: dict[str, Any] = {}
        started = datetime.now(UTC)
        for segment in range(100):
            order = self.executor.order(
                task.task_id, dag_id=self.dag.dag_id, relative_path=self.path, map_index=index, map_length=count,
                try_number=number, max_tries=task.retries + 1, segment=segment, reports_length=task.reports_length,
                upstream_map_lengths=self.lengths, **more,
            )  # fmt: skip
            result = self.executor.run_order(order, json.dumps(self.conf).encode())
            assert result.finish is not None, result.log
            more = {"first_start_time": started}
            if result.finish.HasField("deferred"):
                deferred = result.finish.deferred
                event = b"null"
                if deferred.HasField("human"):
                    # Nobody answers in time.
                    event = json.dumps({"chosen_options": list(deferred.human.defaults), "timed_out": True}).encode()
                else:
                    load_trigger(deferred.trigger_class, deferred.trigger_arguments_json)
                more |= {"resume_method": deferred.method_name, "resume_event_json": event}
            elif not result.finish.HasField("rescheduled"):
                self.skipped |= set(result.ended.skip_task_ids)
                return result.outcome
        raise AssertionError("too many segments")


@pytest.mark.parametrize("dag_id", [dag_id for dag_id in EXPECTED if dag_id != "sample_fan_out"])
def test_sample(executor, dag_id, monkeypatch, tmp_path):
    monkeypatch.setenv("SPINNER_SAMPLE_OUTPUT", str(tmp_path / "out"))
    executor.task_states = [
        rt.GetTaskStatesResponse(),
        rt.GetTaskStatesResponse(
            run_found=True, states=[rt.TaskInstanceState(task_id="finish", state=common.TASK_STATE_SUCCESS)]
        ),
    ]
    run = Run(executor, dag_id)
    run.go()
    expected = EXPECTED[dag_id]["tasks"]
    assert run.states == {task_id: facts["state"] for task_id, facts in expected.items()}
    for task_id, facts in expected.items():
        in_worker = 0 if facts.get("inline") else facts.get("tries", 1)
        assert run.tries.get(task_id, 0) == in_worker, task_id
        assert run.lengths.get(task_id) == facts.get("instances"), task_id
        if in_worker:
            marks = tmp_path / "out" / "marks" / dag_id / "manual__1" / task_id
            lines = [line for file in marks.iterdir() for line in file.read_text().splitlines()]
            assert len(lines) >= facts.get("instances", 1) * in_worker


def test_fan_out_adds_up(executor):
    run = Run(executor, "sample_fan_out")
    tasks = {task.task_id: task for task in run.definition.tasks}
    assert run.execute(tasks["numbers"], -1, 0) == "success"
    assert run.length(tasks["square"].map_length) == 200
    assert run.execute(tasks["square"], 199, 200) == "success"
    for index in range(200):
        executor.set_xcom("square", index * index, index)
    run.lengths["square"] = 200
    assert run.execute(tasks["total"], -1, 0) == "success"
    assert decode_json(executor.xcoms[("total", -1, "return_value")]) == sum(n * n for n in range(200))
