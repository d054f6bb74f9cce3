"""`kill -9` in the middle of 50 running DAG runs: all end right, no try runs twice, nothing is missing."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from e2e.harness import Stack, unique, wait_for

RUNS, STEPS = 50, 6
VICTIMS = ["scheduler", "executor", "webgateway", "dag-sync", "token-fetcher", "rca", "kafka"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_service_loses_nothing_and_repeats_nothing(stack: Stack, victim: str) -> None:
    batch = unique(f"kill-{victim}")
    runs = {f"{batch}-{number:02d}" for number in range(RUNS)}
    killed = int(stack.service(victim)["pid"])
    stack.trigger_many([("e2e_chain", run_id) for run_id in sorted(runs)], {"seconds": 0.8})
    wait_for("work in full swing", lambda: len(stack.read_marks("e2e_chain", runs)) >= RUNS, 60)
    os.kill(killed, signal.SIGKILL)
    begun = len(stack.read_marks("e2e_chain", runs))
    assert begun < RUNS * STEPS, "the kill must come in the middle"

    def is_back() -> bool:
        row = stack.service(victim)
        return row["state"] == "running" and row["pid"] != killed

    wait_for(f"{victim} back", is_back, 60)
    states = stack.all_finished("e2e_chain", runs)
    assert Counter(states.values()) == {"success": RUNS}
    starts = Counter((mark.run_id, mark.task_id, mark.try_number) for mark in stack.read_marks("e2e_chain", runs))
    assert {key: count for key, count in starts.items() if count > 1} == {}, "a try ran twice"
    assert {(run_id, task_id) for run_id, task_id, _ in starts} == {
        (run_id, f"step_{number}") for run_id in runs for number in range(STEPS)
    }
    records = Counter(
        (record.instance_id, record.job_name, record.try_number)
        for record in stack.records("e2e_chain")
        if record.instance_id in runs
    )
    assert records == Counter(dict.fromkeys(starts, 1)), "one record for each try that ran"
