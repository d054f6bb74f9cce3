"""The workloads as Dagster jobs: `dagster_jobs.py w1|w2 MARKS process|none`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dagster import DagsterInstance, In, Nothing, execute_job, in_process_executor, job, op, reconstructable


def leave(name):
    (Path(os.environ["BENCH_MARKS"]) / name).write_text(str(time.time_ns()))


@op(ins={"after": In(Nothing)})
def step(context):
    leave(context.op_handle.name)


@op
def first(context):
    leave(context.op_handle.name)


def chain():
    before = first.alias("step_00")()
    for number in range(1, 40):
        before = step.alias(f"step_{number:02d}")(before)


def fan_out():
    begin = first()
    step.alias("last")([step.alias(f"middle_{number:03d}")(begin) for number in range(200)])


@job
def w1():
    chain()


@job
def w2():
    fan_out()


@job(executor_def=in_process_executor)
def w1_none():
    chain()


@job(executor_def=in_process_executor)
def w2_none():
    fan_out()


if __name__ == "__main__":
    os.environ["BENCH_MARKS"] = sys.argv[2]
    chosen = {"w1": w1, "w2": w2, "w1none": w1_none, "w2none": w2_none}
    which = chosen[sys.argv[1] + ("none" if sys.argv[3] == "none" else "")]
    with DagsterInstance.get() as instance:
        result = execute_job(reconstructable(which), instance=instance)
        sys.exit(0 if result.success else 1)
