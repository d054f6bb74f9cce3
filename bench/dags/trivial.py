"""What the workloads of performance.md share: tasks that only leave a mark."""

from __future__ import annotations

from marks import mark
from spinner import PythonOperator

COMMON = {
    "access_control": {"everyone": ["can_dag_read", "can_dag_edit"]},
    "schedule": None,
    "max_active_runs": 16,
    "max_active_tasks": 256,
}


def trivial(**context):
    mark(context, "start")


def timed(**context):
    mark(context, "start")
    mark(context, "end")


def work(task_id, call=trivial):
    return PythonOperator(task_id=task_id, python_callable=call)
