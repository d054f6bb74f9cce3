"""The workloads of performance.md: W1 40 in sequence, W2 1 → 200 → 1, W3 200 DAGs × 10 tasks at once."""

from __future__ import annotations

from marks import mark
from spinner import DAG, PythonOperator, chain

ACCESS = {"everyone": ["can_dag_read", "can_dag_edit"]}
LIMITS = {"max_active_runs": 16, "max_active_tasks": 256}


def trivial(**context):
    mark(context, "start")


def timed(**context):
    mark(context, "start")
    mark(context, "end")


def work(task_id, call=trivial):
    return PythonOperator(task_id=task_id, python_callable=call)


with DAG("bench_w1", tier=1, access_control=ACCESS, schedule=None, **LIMITS):
    chain(*(work(f"step_{number:02d}", timed) for number in range(40)))

with DAG("bench_w2", tier=1, access_control=ACCESS, schedule=None, **LIMITS):
    first, last = work("first"), work("last")
    for number in range(200):
        first >> work(f"middle_{number:03d}") >> last

for number in range(200):
    with DAG(f"bench_w3_{number:03d}", tier=1 + number % 3, access_control=ACCESS, schedule=None, **LIMITS):
        chain(*(work(f"step_{step}") for step in range(10)))
