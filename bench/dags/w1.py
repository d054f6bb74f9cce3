"""W1: 40 tasks in sequence."""

from __future__ import annotations

from spinner import DAG, chain
from trivial import COMMON, timed, work

with DAG("bench_w1", tier=1, **COMMON):
    chain(*(work(f"step_{number:02d}", timed) for number in range(40)))
