"""A local worker and what it starts run on no more processors than its task's `limit_cpu` says, rounded up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from spinner_executor.domain.resources import InvalidResources, cpus_of
from spinner_proto.common.v1 import common_pb2 as c
from stage import Stage

COUNTS = """
import os, subprocess, sys
def task(client, work):
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    code = "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    with open({path!r}, "w") as file:
        file.write(f"{{own}} {{child}}")
"""


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("500m", lambda all: 1), (1, lambda all: 1), ("1500m", lambda all: min(2, all)), (4096, lambda all: all)],
)
def test_a_worker_has_as_many_processors_as_its_limit(
    stage: Stage, limit: object, expected: Callable[[int], int]
) -> None:
    stage.executor()
    path = stage.folder / "counts"
    bundle = stage.bundle(dag=COUNTS.format(path=str(path)))
    order = stage.order("t", bundle, "dag.py", resources_json=json.dumps({"limit_cpu": limit}))
    stage.write(order)
    ended = stage.wait(order, seconds=60).ended
    assert ended.outcome == c.OUTCOME_SUCCESS, ended.message
    own, child = map(int, path.read_text().split())
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    assert own == child == (expected(count) if count is not None else os.cpu_count())


def test_what_is_no_amount_of_processors_ends_the_try_with_a_reason(stage: Stage) -> None:
    stage.executor()
    order = stage.order("t", resources_json=json.dumps({"limit_cpu": "two"}))
    stage.write(order)
    ended = stage.wait(order, seconds=60).ended
    assert ended.outcome == c.OUTCOME_LAUNCH_FAILED
    assert "'two' is not a quantity; write it like 500m or 2" in ended.message


def test_amounts_of_processors() -> None:
    assert [cpus_of(text) for text in ("", "{}", '{"limit_cpu": null}', '{"limit_cpu": "250m"}')] == [0, 0, 0, 0.25]
    assert cpus_of('{"limit_cpu": 1.5}') == cpus_of('{"limit_cpu": "1.5"}') == 1.5
    with pytest.raises(InvalidResources, match="500m or 2"):
        cpus_of('{"limit_cpu": "2Gi"}')
