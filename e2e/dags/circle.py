"""DAGs of the end-to-end tests: chains that leave marks, and one that fails once."""

from __future__ import annotations

import time
from datetime import timedelta

from marks import mark
from spinner import DAG, PythonOperator, chain

ACCESS = {"everyone": ["can_dag_read", "can_dag_edit"]}
STEPS = 6


def step(**context):
    mark(context, "start")
    time.sleep(float(context["dag_run"].conf.get("seconds", 0)))


def fail_once(**context):
    mark(context, "start")
    if context["ti"].try_number == 1:
        raise ConnectionError("the first try always fails")


def fail(**context):
    mark(context, "start")
    raise ValueError("this task always fails")


with DAG("e2e_chain", tier=1, access_control=ACCESS, schedule=None, max_active_runs=200, max_active_tasks=64):
    chain(*(PythonOperator(task_id=f"step_{number}", python_callable=step) for number in range(STEPS)))

with DAG("e2e_flaky", tier=2, access_control=ACCESS, schedule=None):
    PythonOperator(task_id="fail_once", python_callable=fail_once, retries=1, retry_delay=timedelta(seconds=0.2))

with DAG("e2e_failing", tier=3, access_control=ACCESS, schedule=None):
    chain(
        PythonOperator(task_id="fail", python_callable=fail),
        PythonOperator(task_id="never", python_callable=step),
    )
