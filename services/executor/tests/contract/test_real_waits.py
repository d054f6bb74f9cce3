"""Pods that a real kubelet or scheduler never lets run, or ends: each says which, with the cluster's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from node_place import NodePlace
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_servers import worker_image
from spinner_servicekit.quantities import parse_bytes
from stage import Stage, until

SECONDS = 180.0
DAG_FILE = """
import pathlib, time
from datetime import datetime, timezone
from spinner import DAG, task

with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), tier=1, access_control={"team": {"can_dag_read"}}):
    @task
    def waits(name):
        pathlib.Path(%r, name).touch()
        time.sleep(600)

    for name in ("deadline", "modest", "important"):
        waits.override(task_id=name)(name)
"""
SECRET_THAT_IS_NOT_THERE = {"secretKeyRef": {"name": "not-there", "key": "password"}}
CONFIGURED = {"spec": {"containers": [{"name": "base", "env": [{"name": "X", "valueFrom": SECRET_THAT_IS_NOT_THERE}]}]}}
PREPARED = {
    "spec": {
        "initContainers": [
            {"name": "prepare", "image": worker_image.WORKER, "imagePullPolicy": "Never", "command": ["false"]}
        ]
    }
}
Ordered = Callable[..., o.TaskOrder]

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def place(node_place: NodePlace) -> NodePlace:
    return node_place


@pytest.fixture
def order(stage: Stage) -> Ordered:
    """Writes an order of the DAG above, or of a task that will never be read."""
    bundle = stage.bundle(dag=DAG_FILE % str(stage.folder))

    def ordered(task_id: str, tier: int = 1, **resources: object) -> o.TaskOrder:
        made = stage.order(task_id, bundle, "dag.py", resources_json=json.dumps(resources), tier=tier)
        stage.write(made)
        return made

    return ordered


def ends(stage: Stage, order: o.TaskOrder, outcome: c.Outcome, *words: str) -> None:
    end = stage.wait(order, seconds=SECONDS).ended
    assert end.outcome == outcome, end.message
    assert all(word in end.message for word in words), end.message


def test_pods_that_never_run_say_why(stage: Stage, order: Ordered, place: NodePlace) -> None:
    stage.executor(kubernetes_image_seconds=6, kubernetes_pending_seconds=12)
    misnamed = order("misnamed", image="Not An Image")
    unknown = order("unknown", image="127.0.0.1:1/nobody/has:it", image_pull_policy="Always")
    unconfigured = order("unconfigured", pod_override=CONFIGURED)
    nowhere = order("nowhere", node_selector={"disk": "of-gold"})
    unprepared = order("unprepared", pod_override=PREPARED)
    ends(stage, misnamed, c.OUTCOME_IMAGE_PULL_FAILED, "InvalidImageName")
    ends(stage, unknown, c.OUTCOME_IMAGE_PULL_FAILED, "127.0.0.1:1/nobody/has:it")
    ends(stage, unconfigured, c.OUTCOME_CONFIG_ERROR, "not-there")
    ends(stage, nowhere, c.OUTCOME_NEVER_SCHEDULED, "node affinity/selector")
    ends(stage, unprepared, c.OUTCOME_LAUNCH_FAILED, "init container prepare failed with 1")
    assert any("not-there" in report.pending.reason for report in stage.of(unconfigured, "pending"))
    assert any("node affinity/selector" in report.pending.reason for report in stage.of(nowhere, "pending"))
    until(lambda: not place.left(), "their pods are removed", SECONDS)


def test_a_pod_that_outlives_its_deadline_timed_out(stage: Stage, order: Ordered, place: NodePlace) -> None:
    stage.executor()
    late = order("deadline", pod_override={"spec": {"activeDeadlineSeconds": 20}})
    until((stage.folder / "deadline").exists, "it runs", SECONDS)
    ends(stage, late, c.OUTCOME_TIMED_OUT, "deadline")
    until(lambda: not place.left(), "its pod is removed", SECONDS)


def test_a_more_important_tier_takes_the_place_of_a_running_pod(stage: Stage, order: Ordered, place: NodePlace) -> None:
    stage.executor()
    nodes: dict[str, Any] = place.cluster.request("GET", "/api/v1/nodes")
    most = str(parse_bytes(nodes["items"][0]["status"]["allocatable"]["memory"]) * 6 // 10)
    modest = order("modest", tier=3, request_memory=most)
    until((stage.folder / "modest").exists, "the modest one runs", SECONDS)
    important = order("important", tier=1, request_memory=most)
    ends(stage, modest, c.OUTCOME_PREEMPTED, "reempt")
    until((stage.folder / "important").exists, "the important one runs", SECONDS)
    important.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(important)
    ends(stage, important, c.OUTCOME_KILLED_BY_USER)
    until(lambda: not place.left(), "their pods are removed", SECONDS)
