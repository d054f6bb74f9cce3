"""The largest things that are allowed pass through every topic."""

from __future__ import annotations

from e2e.harness import Stack, unique, wait_for

TASKS = 10_000
WIDE = f"""
from spinner import DAG, EmptyOperator, Tier
with DAG("wide", tier=Tier.TIER3, access_control={{"everyone": {{"can_dag_read"}}}}, schedule=None):
    head = EmptyOperator(task_id="head")
    for number in range({TASKS - 1}):
        head >> EmptyOperator(task_id=f"task_{{number:05d}}")
"""


def test_a_dag_of_ten_thousand_tasks_runs_with_a_conf_of_a_megabyte(stack: Stack) -> None:
    path = stack.scratch / "wide.py"
    path.write_text(WIDE)
    try:
        wait_for("the DAG", lambda: "wide" in stack.dag_ids(), 90)
        assert len(stack.rest("GET", "/dags/wide/layout").json()["tasks"]) == TASKS
        run_id = stack.trigger("wide", unique("wide"), {"text": "x" * 1_000_000})
        assert stack.finished("wide", run_id, 120, pause_seconds=0.5)["state"] == "success"
        assert {task["state"] for task in stack.tasks("wide", run_id)} == {"success"}
        records = [record.job_name for record in stack.records("wide") if record.instance_id == run_id]
        assert len(records) == len(set(records)) == TASKS
    finally:
        path.unlink()
