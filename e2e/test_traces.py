"""J2: a trace goes from the click through Kafka to the task."""

from __future__ import annotations

from e2e.collector import Collector
from e2e.harness import Stack, unique, wait_for


def test_a_trace_goes_from_the_action_to_every_task(stack: Stack, collector: Collector) -> None:
    run_id = unique("traced")
    stack.trigger("sample_templates", run_id)
    stack.finished("sample_templates", run_id, 120)
    tries = {("spinner-executor", f"try {task['task_id']}") for task in stack.tasks("sample_templates", run_id)}
    action = ("spinner-webgateway", "POST /api/v1/dags/sample_templates/runs")

    def whole() -> bool:
        return any(action in spans and tries <= spans for spans in list(collector.traces.values()))

    wait_for("one trace with the action and every try", whole, 30)
