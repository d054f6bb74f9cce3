"""The workloads as Airflow DAGs."""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

COMMON = {"schedule": None, "catchup": False, "max_active_runs": 16, "max_active_tasks": 256}


def mark(**context):
    folder = Path(context["dag_run"].conf["marks"])
    (folder / f"{context['dag'].dag_id}~{context['ti'].task_id}").write_text(str(time.time_ns()))


def work(task_id):
    return PythonOperator(task_id=task_id, python_callable=mark)


with DAG("bench_w1", **COMMON):
    chain(*(work(f"step_{number:02d}") for number in range(int(os.environ["BENCH_CHAIN"]))))

with DAG("bench_w2", **COMMON):
    first, last = work("first"), work("last")
    for number in range(int(os.environ["BENCH_FAN_OUT"])):
        first >> work(f"middle_{number:03d}") >> last

for number in range(int(os.environ["BENCH_DAGS"])):
    with DAG(f"bench_w3_{number:03d}", **COMMON):
        chain(*(work(f"step_{step}") for step in range(int(os.environ["BENCH_TASKS_OF_A_DAG"]))))
