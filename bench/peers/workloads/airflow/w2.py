"""W2: 1 → many → 1."""

from __future__ import annotations

import os

from airflow.sdk import DAG
from trivial import COMMON, work

with DAG("bench_w2", **COMMON):
    first, last = work("first"), work("last")
    for number in range(int(os.environ["BENCH_FAN_OUT"])):
        first >> work(f"middle_{number:03d}") >> last
