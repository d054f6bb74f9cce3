"""Callbacks are shown with their run, with log and tries like a task's, and count in no state of the run."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from spinner_proto.common.v1 import common_pb2
from spinner_proto.events.v1 import events_pb2

RUN = "/dags/etl/runs/r1"


@pytest.fixture(scope="module")
def called(gateway: Any, put: Any, put_records: Any, script: Any, store: Any) -> None:
    """Run r1 of etl failed in t1; the callback of that worked at the second attempt, that of the DAG failed."""

    def changed(task_id: str, state: str, **facts: Any) -> Any:
        event = events_pb2.CallbackChanged(
            task_id=task_id, map_index=-1, number=1, callback="failure",
            state=common_pb2.TaskState.Value(f"TASK_STATE_{state}"), **facts,
        )  # fmt: skip
        return script.record("etl", "r1", events_pb2.WorkflowEvent(callback_changed=event))

    failed = common_pb2.OUTCOME_FAILED
    store.put("logs/etl/r1/__callback__.t1/-1/1.log", b"[2026-11-27T08:00:00.123Z] {CallbackStage} INFO x: told\n")
    put_records(gateway.log, ("workflow_definitions", "etl@v1", script.definition("etl")))
    put(
        gateway.log,
        script.dag("etl"),
        script.created("etl", "r1"),
        script.ended("etl", "r1", "t0", "success"),
        script.ended("etl", "r1", "t1", "failed"),
        changed("t1", "QUEUED"),
        changed("t1", "RUNNING", executor="e:1", worker="w1"),
        changed("t1", "UP_FOR_RETRY", outcome=failed, message="no mail server"),
        script.task("etl", "r1", "t2", "upstream_failed", 0),
        script.run_state("etl", "r1", "failed"),
        changed("", "QUEUED"),
        changed("t1", "RUNNING", executor="e:1", worker="w2"),
        changed(
            "t1", "SUCCESS", outcome=common_pb2.OUTCOME_SUCCESS, worker="w2",
            log_key="logs/etl/r1/__callback__.t1/-1/1.log", log_bytes=56,
        ),
        changed("", "FAILED", outcome=failed, message="Slack answered 403"),
    )  # fmt: skip
    gateway.caught_up()


def test_a_run_lists_its_callbacks(called: None, client: httpx.Client) -> None:
    found = client.get(f"{RUN}/callbacks").json()
    assert [(one["task_id"], one["state"], one["message"]) for one in found] == [
        ("t1", "success", ""),
        ("", "failed", "Slack answered 403"),
    ]


def test_callbacks_count_in_no_state(called: None, client: httpx.Client) -> None:
    assert client.get(RUN).json()["task_counts"] == {"success": 1, "failed": 1, "upstream_failed": 1}
    assert len(client.get(f"{RUN}/tasks").json()["items"]) == 3


def test_the_log_and_tries_of_a_callback_are_a_tasks(called: None, client: httpx.Client) -> None:
    task = client.get(f"{RUN}/tasks/__callback__.t1/-1").json()
    assert (task["state"], [one["worker"] for one in task["tries"]]) == ("success", ["w2"])
    page = client.get(f"{RUN}/tasks/__callback__.t1/-1/tries/1/log").json()
    assert [(line["stage"], line["text"]) for line in page["lines"]] == [("CallbackStage", "told")]
    assert client.get(f"{RUN}/tasks/__callback__.t2/-1").status_code == 404


def test_the_history_tells_of_them(called: None, client: httpx.Client) -> None:
    texts = [entry["text"] for entry in client.get(f"{RUN}/events").json()["items"]]
    assert "Callbacks for failure of t1 (try 1): up for retry: no mail server" in texts
    assert "Callbacks for failure of the DAG: failed: Slack answered 403" in texts
