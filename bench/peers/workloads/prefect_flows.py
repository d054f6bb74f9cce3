"""The workloads as Prefect flows: `prefect_flows.py w1|w2|w3 MARKS process|none`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from prefect import flow, task
from prefect.futures import wait
from prefect.task_runners import ProcessPoolTaskRunner

CHAIN = int(os.environ["BENCH_CHAIN"])
FAN_OUT = int(os.environ["BENCH_FAN_OUT"])


@task
def mark(folder, name):
    (Path(folder) / name).write_text(str(time.time_ns()))


@task
async def amark(folder, name):
    (Path(folder) / name).write_text(str(time.time_ns()))


@flow
def w1(folder):
    for number in range(CHAIN):
        mark(folder, f"step_{number:02d}")


@flow
def w2(folder):
    mark(folder, "first")
    wait([mark.submit(folder, f"middle_{number:03d}") for number in range(FAN_OUT)])
    mark(folder, "last")


@flow(task_runner=ProcessPoolTaskRunner(max_workers=4))
def w1_process(folder):
    for number in range(CHAIN):
        mark.submit(folder, f"step_{number:02d}").wait()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=4))
def w2_process(folder):
    mark.submit(folder, "first").wait()
    wait([mark.submit(folder, f"middle_{number:03d}") for number in range(FAN_OUT)])
    mark.submit(folder, "last").wait()


@flow
async def dag(folder, number):
    for step in range(int(os.environ["BENCH_TASKS_OF_A_DAG"])):
        await amark(folder, f"{number}~step_{step}")


async def w3(folder):
    await asyncio.gather(*(dag(folder, number) for number in range(int(os.environ["BENCH_DAGS"]))))


if __name__ == "__main__":
    workload, marks, mode = sys.argv[1:]
    if workload == "w3":
        asyncio.run(w3(marks))
    elif mode == "process":
        {"w1": w1_process, "w2": w2_process}[workload](marks)
    else:
        {"w1": w1, "w2": w2}[workload](marks)
