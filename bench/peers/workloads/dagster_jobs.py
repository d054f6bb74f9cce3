"""The workloads as Dagster jobs: `dagster_jobs.py w1|w2 MARKS process|none`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dagster import (
    DagsterInstance,
    In,
    Nothing,
    execute_job,
    in_process_executor,
    job,
    multiprocess_executor,
    op,
    reconstructable,
)

PROCESSES = multiprocess_executor.configured(
    {"max_concurrent": 4, "start_method": {"forkserver": {"preload_modules": ["dagster_jobs"]}}}
)


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
    for number in range(1, int(os.environ["BENCH_CHAIN"])):
        before = step.alias(f"step_{number:02d}")(before)


def fan_out():
    begin = first()
    middle = [step.alias(f"middle_{number:03d}")(begin) for number in range(int(os.environ["BENCH_FAN_OUT"]))]
    step.alias("last")(middle)


@job(executor_def=PROCESSES)
def w1():
    chain()


@job(executor_def=PROCESSES)
def w2():
    fan_out()


@job(executor_def=in_process_executor)
def w1_none():
    chain()


@job(executor_def=in_process_executor)
def w2_none():
    fan_out()


if __name__ == "__main__":
    import dagster_jobs  # by the name under which processes of steps load it

    os.environ["BENCH_MARKS"] = sys.argv[2]
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    which = getattr(dagster_jobs, sys.argv[1] + ("_none" if sys.argv[3] == "none" else ""))
    with DagsterInstance.get() as instance:
        result = execute_job(reconstructable(which), instance=instance)
        sys.exit(0 if result.success else 1)
