"""W1: tasks in sequence."""

from __future__ import annotations

import os

from airflow.sdk import DAG, chain
from trivial import COMMON, work

with DAG("bench_w1", **COMMON):
    chain(*(work(f"step_{number:02d}") for number in range(int(os.environ["BENCH_CHAIN"]))))
