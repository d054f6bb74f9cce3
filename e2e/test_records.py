"""Exactly one JobExecutionRecord for every try that ran."""

from __future__ import annotations

from collections import Counter

from e2e.harness import Stack, unique


def test_each_try_leaves_exactly_one_record(stack: Stack) -> None:
    run_id = stack.trigger("e2e_flaky", unique("records"))
    assert stack.finished("e2e_flaky", run_id)["state"] == "success"
    records = [record for record in stack.records("e2e_flaky") if record.instance_id == run_id]
    assert [(record.try_number, record.status) for record in records] == [(1, "up_for_retry"), (2, "success")]
    marks = Counter(mark.try_number for mark in stack.read_marks("e2e_flaky", {run_id}))
    assert marks == {1: 1, 2: 1}
