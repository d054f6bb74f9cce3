"""W2: 1 → 200 → 1."""

from __future__ import annotations

from spinner import DAG
from trivial import COMMON, work

with DAG("bench_w2", tier=1, **COMMON):
    first, last = work("first"), work("last")
    for number in range(200):
        first >> work(f"middle_{number:03d}") >> last
