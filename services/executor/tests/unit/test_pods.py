"""Every ending of a pod is told apart, from the status that Kubernetes gives it."""

from __future__ import annotations

from typing import Any

import pytest
from spinner_executor.domain import podnames, pods
from spinner_executor.domain.endings import classify_exit
from spinner_proto.common.v1 import common_pb2 as c


def pod(status: dict[str, Any], deleting: bool = False, node: str = "n1") -> pods.Pod:
    metadata: dict[str, Any] = {
        "name": "p", "uid": "u", "creationTimestamp": "2026-11-27T08:00:00Z",
        "annotations": {podnames.KEY: "d/r/t/-1/1", podnames.SEGMENT: "0", podnames.LAUNCH: "abc"},
    }  # fmt: skip
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-27T08:00:01Z"
    return pods.read({"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status})


def ended(code: int, reason: str = "Error", message: str = "", **more: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": [{"name": "worker", "state": state}], **more}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "worker", "state": state}]}


def disrupted(reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]}


@pytest.mark.parametrize(
    ("status", "outcome", "words", "exit_code"),
    [
        (ended(0, "Completed"), c.OUTCOME_CRASHED, "status 0 before it reported", 0),
        (ended(1), c.OUTCOME_CRASHED, "status 1", 1),
        (ended(139), c.OUTCOME_CRASHED, "SIGSEGV", 139),
        (ended(75), c.OUTCOME_LOST, "lease", 75),
        (ended(137, "OOMKilled"), c.OUTCOME_OUT_OF_MEMORY, "memory limit", 137),
        (ended(137), c.OUTCOME_CRASHED, "SIGKILL", 137),
        (ended(128, "StartError", "exec: python3: not found"), c.OUTCOME_CONFIG_ERROR, "not found", 128),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. Threshold …"},
            c.OUTCOME_NODE_OUT_OF_MEMORY, "low on resource: memory", 0,
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            c.OUTCOME_EVICTED, "ephemeral-storage", 0,
        ),
        (ended(143, **disrupted("EvictionByEvictionAPI", "draining")), c.OUTCOME_EVICTED, "draining", 143),
        (ended(143, **disrupted("TerminationByKubelet", "graceful shutdown")), c.OUTCOME_EVICTED, "graceful", 143),
        (
            # As a kubelet 1.36 was seen to write it: the worker had ended itself in time.
            ended(0, **disrupted("TerminationByKubelet", "The node was low on resource: memory. Threshold …")),
            c.OUTCOME_NODE_OUT_OF_MEMORY, "low on resource: memory", 0,
        ),
        (ended(137, **disrupted("PreemptionByScheduler", "for pod x")), c.OUTCOME_PREEMPTED, "for pod x", 137),
        (ended(137, **disrupted("DeletionByTaintManager", "taint")), c.OUTCOME_NODE_LOST, "taint", 137),
        ({"phase": "Failed", "reason": "NodeLost", "message": "gone"}, c.OUTCOME_NODE_LOST, "gone", 0),
        ({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}, c.OUTCOME_TIMED_OUT, "too long", 0),
        ({"phase": "Failed", "reason": "OutOfmemory", "message": "rejected"}, c.OUTCOME_LAUNCH_FAILED, "rejected", 0),
        (
            {
                "phase": "Failed",
                "initContainerStatuses": [{"name": "sync", "state": {"terminated": {"exitCode": 3}}}],
            },
            c.OUTCOME_LAUNCH_FAILED, "sync failed with 3", 0,
        ),
    ],
)  # fmt: skip
def test_ends(status: dict[str, Any], outcome: int, words: str, exit_code: int) -> None:
    found = pod(status)
    assert found.phase is pods.Phase.ENDED
    assert found.exit is not None
    ending = classify_exit(found.exit)
    assert (ending.outcome, ending.exit_code) == (outcome, exit_code)
    assert words in ending.message


@pytest.mark.parametrize(
    ("code", "reason", "doubt"),
    [(137, "Error", True), (143, "Error", True), (139, "Error", False), (1, "Error", False), (137, "OOMKilled", False)],
)
def test_who_killed_a_worker_may_be_said_once_its_pod_is_over(code: int, reason: str, doubt: bool) -> None:
    assert pod({**ended(code, reason), "phase": "Running"}).unexplained is doubt
    assert not pod(ended(code, reason)).unexplained
    assert not pod({**ended(code, reason), "phase": "Running", **disrupted("PreemptionByScheduler")}).unexplained


def test_a_worker_that_ended_with_its_deleted_pod_was_deleted() -> None:
    found = pod(ended(143), deleting=True)
    assert found.exit is not None
    assert classify_exit(found.exit).outcome == c.OUTCOME_DELETED
    crashed = pod(ended(139), deleting=True)
    assert crashed.exit is not None
    assert classify_exit(crashed.exit).outcome == c.OUTCOME_CRASHED


@pytest.mark.parametrize(
    ("status", "node", "outcome", "words", "hopeless"),
    [
        (waiting("ErrImagePull", "not found"), "n1", c.OUTCOME_IMAGE_PULL_FAILED, "not found", False),
        (waiting("InvalidImageName", "bad"), "n1", c.OUTCOME_IMAGE_PULL_FAILED, "bad", True),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "n1", c.OUTCOME_CONFIG_ERROR, "secret", False),
        (waiting("ContainerCreating"), "n1", c.OUTCOME_LAUNCH_FAILED, "prepared on its node", False),
        ({"phase": "Pending"}, "", c.OUTCOME_NEVER_SCHEDULED, "scheduler", False),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                     "message": "0/4 nodes are available: 4 Insufficient cpu."}
                ],
            },
            "", c.OUTCOME_NEVER_SCHEDULED, "Insufficient cpu", False,
        ),
    ],
)  # fmt: skip
def test_waits(status: dict[str, Any], node: str, outcome: int, words: str, hopeless: bool) -> None:
    found = pod(status, node=node)
    assert found.phase is pods.Phase.WAITING
    assert found.waiting_outcome == outcome
    assert words in found.waiting
    assert found.hopeless is hopeless


def test_a_pod_that_vanishes_was_deleted_unless_it_said_something_else_before() -> None:
    running = {"phase": "Running", "containerStatuses": [{"name": "worker", "state": {"running": {}}}]}
    assert pods.vanished(pod(running)).outcome == c.OUTCOME_DELETED
    assert pods.vanished(None).outcome == c.OUTCOME_DELETED
    preempted = pods.vanished(pod({**running, **disrupted("PreemptionByScheduler", "for y")}, deleting=True))
    assert preempted.outcome == c.OUTCOME_PREEMPTED
    assert classify_exit(pods.vanished(pod(ended(137, "OOMKilled")))).outcome == c.OUTCOME_OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("spec", "outcome"),
    [
        ({"containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}]}, c.OUTCOME_OUT_OF_MEMORY),
        ({"containers": [{"name": "worker"}], "resources": {"limits": {"memory": "1Gi"}}}, c.OUTCOME_OUT_OF_MEMORY),
        ({"containers": [{"name": "worker", "resources": {"limits": {"cpu": 1}}}]}, c.OUTCOME_NODE_OUT_OF_MEMORY),
        ({"containers": [{"name": "worker"}]}, c.OUTCOME_NODE_OUT_OF_MEMORY),
    ],
)
def test_the_kernel_kills_a_container_without_a_limit_only_for_its_node(spec: dict[str, Any], outcome: int) -> None:
    found = pods.read({"metadata": {"name": "p"}, "spec": spec, "status": ended(137, "OOMKilled")})
    assert found.exit is not None
    assert (classify_exit(found.exit).outcome, found.exit.exit_code) == (outcome, 137)


def test_why_a_legacy_container_died_is_known_when_the_kubelet_says_so() -> None:
    limits = {"limits": {"memory": "64Mi"}}
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}

    def manifest(**status: Any) -> dict[str, Any]:
        spec = {"initContainers": [{"name": "legacy", "resources": limits}], "containers": [{"name": "worker"}]}
        return {"spec": spec, "status": {"initContainerStatuses": [{"name": "legacy", **status}]}}

    assert pods.legacy_end(manifest(state={"running": {}})) is None
    for said in (manifest(lastState=killed, state={"running": {}}), manifest(state=killed)):
        found = pods.legacy_end(said)
        assert found is not None
        assert (found.outcome, found.exit_code) == (c.OUTCOME_OUT_OF_MEMORY, 137)
    crashed = pods.legacy_end(manifest(lastState={"terminated": {"exitCode": 137, "reason": "Error"}}))
    assert crashed is not None
    assert crashed.outcome == c.OUTCOME_UNSPECIFIED
    assert pods.legacy_end({"spec": {}, "status": {}}) is None
