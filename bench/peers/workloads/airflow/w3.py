"""W3: many DAGs from one file; a task's process makes only its own, as Airflow's documentation advises."""

from __future__ import annotations

import os

from airflow.sdk import DAG, chain, get_parsing_context
from trivial import COMMON, work

wanted = get_parsing_context().dag_id

for number in range(int(os.environ["BENCH_DAGS"])):
    if wanted in (None, f"bench_w3_{number:03d}"):
        with DAG(f"bench_w3_{number:03d}", **COMMON):
            chain(*(work(f"step_{step}") for step in range(int(os.environ["BENCH_TASKS_OF_A_DAG"]))))
