"""What is measured: the SDK's import, the scheduler and executor alone, the running whole."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil

from bench.figures import Figure, figure, percentile
from bench.scheduler import core
from bench.scheduler.installation import broker
from e2e.harness import ROOT, Mark, Stack, unique, wait_for

_IMPORT = """
import time
begin = time.perf_counter()
import spinner
from spinner import DAG, PythonOperator, task
seconds = time.perf_counter() - begin
import resource, sys
kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "linux" else 1024)
try:
    # Linux counts what the process was before it executed Python, too: the benchmark itself.
    (kib,) = (float(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
except OSError:
    pass
print(seconds, kib)
"""


def sdk_import() -> Iterator[Figure]:
    """Time and resident memory of a fresh interpreter that imports what an author does; Python's own included."""
    seconds, mib = [], []
    for _ in range(9):
        done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
        first, second = done.stdout.split()
        seconds.append(float(first))
        mib.append(float(second) / 1024)
    yield figure("sdk_import_s", seconds)
    yield figure("sdk_import_mib", mib)


def scheduler() -> Iterator[Figure]:
    """What `make bench-scheduler` measures of one partition, alone and through a broker of its own."""
    yield from core.transitions()
    with broker() as bootstrap:
        yield from core.through_kafka(bootstrap)


def executor() -> Iterator[Figure]:
    """The executor's own benchmark, five times, with a broker of its own."""
    found: dict[str, list[float]] = {}
    with broker() as bootstrap:
        for _ in range(5):
            for name, values in _values("spinner_executor.benchmark", SPINNER_KAFKA=bootstrap).items():
                found.setdefault(name, []).extend(values)
    for name, values in found.items():
        yield figure(name, values)


def stack() -> Iterator[Figure]:
    """Start, memory, hop latency and throughput of the embedded stack."""
    with_marks = bench_stack()
    try:
        yield from _measure(with_marks)
    finally:
        with_marks.close()


def bench_stack() -> Stack:
    """A stack, not yet up, whose only bundle has the workloads; they leave marks."""
    made = Stack({}, examples=False)
    bundle = made.home / "workloads"
    shutil.copytree(ROOT / "bench" / "dags", bundle)
    shutil.copy(ROOT / "e2e" / "dags" / "marks.py", bundle)
    made.bundles_file.write_text(json.dumps({"bundles": [{"name": "bench", "kind": "folder", "path": str(bundle)}]}))
    return made


def _measure(stack: Stack) -> Iterator[Figure]:
    stack.up()
    wait_for("the workloads", lambda: len([d for d in stack.dag_ids() if d.startswith("bench_")]) == 202, 120)
    starts = []
    for _ in range(3):
        stack.down()
        begin = time.monotonic()
        stack.up()
        starts.append(time.monotonic() - begin)
    yield figure("up_warm_s", starts)
    wait_for("a first run", lambda: run_workload(stack, "bench_w1"), 120)
    yield from _idle(stack)
    hops, per_task = [], []
    for _ in range(5):
        marks = run_workload(stack, "bench_w1")
        hops += _hops(marks)
        starts_ns = [mark.time_ns for mark in marks if mark.event == "start"]
        per_task.append((max(starts_ns) - min(starts_ns)) / 1e6 / (len(starts_ns) - 1))
    yield figure("hop_p50_ms", [percentile(hops, 50)])
    yield figure("hop_p95_ms", [percentile(hops, 95)])
    yield figure("w1_ms_per_task", per_task)
    yield figure("w2_tasks_per_s", [_rate(run_workload(stack, "bench_w2")) for _ in range(3)])
    yield from _w3(stack)


def run_workload(stack: Stack, dag_id: str) -> list[Mark]:
    """Runs a DAG once; the marks of its tasks."""
    run_id = stack.trigger(dag_id, unique("bench"))
    run = stack.finished(dag_id, run_id, 300, pause_seconds=0.25)
    assert run["state"] == "success", run
    return stack.read_marks(dag_id, {run_id})


def _hops(marks: list[Mark]) -> list[float]:
    """From the end of a task's user code to the start of the next one's, in milliseconds."""
    by_task: dict[str, dict[str, int]] = {}
    for mark in marks:
        by_task.setdefault(mark.task_id, {})[mark.event] = mark.time_ns
    ordered = [by_task[task] for task in sorted(by_task)]
    return [(after["start"] - before["end"]) / 1e6 for before, after in itertools.pairwise(ordered)]


def _rate(marks: list[Mark]) -> float:
    times = [mark.time_ns for mark in marks]
    return (len(times) - 1) / ((max(times) - min(times)) / 1e9)


def _w3(stack: Stack) -> Iterator[Figure]:
    rates, late = [], []
    for _ in range(3):
        batch = unique("w3")
        pairs = [(f"bench_w3_{number:03d}", batch) for number in range(200)]
        begin_ns = time.time_ns()
        stack.trigger_many(pairs)
        wait_for("all W3 tasks", partial(w3_is_done, stack, batch), 300, pause_seconds=0.5)
        marks = w3_marks(stack, batch)
        rates.append(len(marks) / ((max(mark.time_ns for mark in marks) - begin_ns) / 1e9))
        first: dict[str, int] = {}
        for mark in marks:
            if mark.task_id == "step_0":
                first[mark.run_id] = mark.time_ns
        late.append(percentile([(value - begin_ns) / 1e9 for value in first.values()], 95))
    yield figure("w3_tasks_per_s", rates)
    yield figure("w3_first_task_p95_s", late)


def w3_is_done(stack: Stack, batch: str) -> bool:
    """Whether all tasks of a batch of W3 have left their marks."""
    return sum(f"~{batch}~" in name for name in os.listdir(stack.marks)) == 2000  # noqa: PTH208 - it must be cheap


def w3_marks(stack: Stack, batch: str) -> list[Mark]:
    """Marks of one batch; `run_id` is replaced by the DAG's, since all runs of a batch share theirs."""
    return [
        Mark(dag_id, mark.task_id, mark.map_index, mark.event, mark.try_number, mark.time_ns, mark.pid)
        for dag_id in {path.name.split("~")[0] for path in stack.marks.glob(f"bench_w3_*~{batch}~*")}
        for mark in stack.read_marks(dag_id, {batch})
    ]


def _idle(stack: Stack) -> Iterator[Figure]:
    """Memory (PSS where the system tells it) and CPU of the whole at rest, supervisor included."""
    processes = stack.processes()
    before = {process.pid: _cpu_seconds(process) for process in processes}
    begin = time.monotonic()
    time.sleep(10)  # the measured interval itself
    used = sum(_cpu_seconds(process) - before[process.pid] for process in processes if process.is_running())
    yield figure("stack_idle_cpu_percent", [100 * used / (time.monotonic() - begin)])
    yield figure("stack_idle_mib", [sum(_memory_mib(process) for process in stack.processes())])
    for row in stack.json("status"):
        name = row["name"].replace("-", "_")
        yield figure(f"{name}_idle_mib", [row["memory_mib"]], "MiB")


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _memory_mib(process: psutil.Process) -> float:
    memory = process.memory_full_info()
    return float(getattr(memory, "pss", 0) or memory.rss) / 2**20


def _of_module(module: str, *arguments: str, **environment: str) -> Iterator[Figure]:
    for name, values in _values(module, *arguments, **environment).items():
        yield figure(name, values, better="higher")


def _values(module: str, *arguments: str, **environment: str) -> dict[str, list[float]]:
    """What a benchmark of a package prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    if done.returncode != 0:
        raise RuntimeError(f"python -m {module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return _figures(done.stdout)


def _figures(text: str) -> dict[str, list[float]]:
    """Reads {"figures": [{"name", "value"}…]}, or {name: value} with plain numbers, after any progress lines."""
    content: Any = json.loads(text[text.index("{") :])
    if isinstance(content.get("figures"), list):
        return {one["name"]: [float(one["value"])] for one in content["figures"]}
    return {name: [float(value)] for name, value in content.items() if isinstance(value, int | float)}
