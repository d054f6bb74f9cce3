"""W3: 200 DAGs of 10 tasks each, triggered at once."""

from __future__ import annotations

from spinner import DAG, chain
from trivial import COMMON, work

for number in range(200):
    with DAG(f"bench_w3_{number:03d}", tier=1 + number % 3, **COMMON):
        chain(*(work(f"step_{step}") for step in range(10)))
