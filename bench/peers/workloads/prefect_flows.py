"""The workloads as Prefect flows: `prefect_flows.py w1|w2|w3 MARKS`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from prefect import flow, task
from prefect.futures import wait

MARKS = Path(sys.argv[2])


@task
def mark(name):
    (MARKS / name).write_text(str(time.time_ns()))


@task
async def amark(name):
    (MARKS / name).write_text(str(time.time_ns()))


@flow
def w1():
    for number in range(40):
        mark(f"step_{number:02d}")


@flow
def w2():
    mark("first")
    wait([mark.submit(f"middle_{number:03d}") for number in range(200)])
    mark("last")


@flow
async def dag(number):
    for step in range(10):
        await amark(f"{number}~step_{step}")


async def w3():
    await asyncio.gather(*(dag(number) for number in range(200)))


if sys.argv[1] == "w3":
    asyncio.run(w3())
else:
    {"w1": w1, "w2": w2}[sys.argv[1]]()
