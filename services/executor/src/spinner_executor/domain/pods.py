"""What a pod says, turned into the executor's words: waiting and why, running, or ended and how. Pure.

Everything is read from the pod alone, so it doesn't matter which event or list brought it. Sources of the reasons:
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and …/disruptions/#pod-disruption-conditions;
the kubelet's eviction, preemption and admission packages for `status.reason`.

A kubelet that evicts says why when the pod is over, not before: until then its containers are told to end, and may be
seen ended, without a reason (its status manager keeps a terminal phase and the DisruptionTarget condition back while
containers may run). A worker that ends with 0 meanwhile makes a pod that has succeeded and only the condition.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spinner_proto.common.v1.common_pb2 import Outcome

from spinner_executor.domain import podnames
from spinner_executor.domain.model import Exit

WORKER, LEGACY = "worker", "legacy"
_MAX_TEXT = 500
# What every pod waits for in turn.
PREPARED, SCHEDULED = "the pod is being prepared on its node", "the pod waits for the Kubernetes scheduler"

# Waiting containers: what they mean when nothing changes in time.
_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
_CONFIG_REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "RunContainerError",
    }
)
# Waiting will never end these.
_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_KILLS = frozenset({signal.SIGKILL, signal.SIGTERM})
# A container that could not be started although its image is there.
_START_REASONS = frozenset({"StartError", "ContainerCannotRun", "ContainerCannotMount"})


class Phase(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a worker. `waiting` and `waiting_outcome`: why it doesn't run yet, and what that is if it stays so."""

    name: str
    uid: str
    key: str
    segment: int
    launch: str
    created: str
    node: str
    phase: Phase
    deleting: bool
    waiting: str = ""
    waiting_outcome: Outcome.ValueType = Outcome.OUTCOME_UNSPECIFIED
    hopeless: bool = False
    exit: Exit | None = None
    # Nothing more will be said of it: what is not known now is not so.
    over: bool = False
    # Why the cluster is taking it away while it may still run.
    disruption: Exit | None = None

    @property
    def unexplained(self) -> bool:
        """Its worker was killed, and who did it may be said in a moment."""
        exit = self.exit
        killed = exit is not None and exit.outcome == Outcome.OUTCOME_UNSPECIFIED and exit.signal in _KILLS
        return killed and not self.over


def read(manifest: Mapping[str, Any]) -> Pod:
    """Reads a pod object as the API gives it."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    annotations = metadata.get("annotations") or {}
    segment = annotations.get(podnames.SEGMENT, "")
    name, node = metadata["name"], (manifest.get("spec") or {}).get("nodeName", "")
    deleting, limited = "deletionTimestamp" in metadata, _is_limited(manifest.get("spec") or {})
    phase, waiting, outcome, hopeless, exit = Phase.WAITING, "", Outcome.OUTCOME_UNSPECIFIED, False, None
    over = status.get("phase") in ("Succeeded", "Failed")
    if over:
        phase, exit = Phase.ENDED, _exit(status, deleting, limited)
    elif (ended := _state(status.get("containerStatuses"), "terminated")) is not None:
        # The worker is gone; other containers and the kubelet's bookkeeping may take a little longer.
        phase, exit = Phase.ENDED, _exit(status, deleting, limited, ended)
    elif _state(status.get("containerStatuses"), "running") is not None:
        phase = Phase.RUNNING
    else:
        waiting, outcome, hopeless = _waiting(status, bool(node))
    disrupted = _disruption(status)
    disruption = None if disrupted is None else Exit(outcome=disrupted[0], message=disrupted[1])
    if disruption is None and deleting:
        disruption = Exit(outcome=Outcome.OUTCOME_DELETED, message="The pod is being deleted by someone.")
    return Pod(
        name=name,
        uid=metadata.get("uid", ""),
        key=annotations.get(podnames.KEY, ""),
        segment=int(segment) if segment.isdigit() else -1,
        launch=annotations.get(podnames.LAUNCH, ""),
        created=metadata.get("creationTimestamp", ""),
        node=node,
        phase=phase,
        deleting=deleting,
        waiting=waiting[:_MAX_TEXT],
        waiting_outcome=outcome,
        hopeless=hopeless,
        exit=exit,
        over=over,
        disruption=disruption,
    )


def vanished(pod: Pod | None) -> Exit:
    """The end of a worker whose pod is gone from the API before it had ended; None: nobody saw it."""
    if pod is not None and pod.exit is not None:
        return pod.exit
    if pod is not None and pod.disruption is not None and pod.disruption.outcome != Outcome.OUTCOME_DELETED:
        return pod.disruption
    seen = f"on node {pod.node}" if pod is not None and pod.node else "while no executor watched"
    return Exit(outcome=Outcome.OUTCOME_DELETED, message=f"The pod was deleted by someone {seen} before it ended.")


def node_lost(node: str, condition: str) -> Exit:
    return Exit(
        outcome=Outcome.OUTCOME_NODE_LOST, message=f"Node {node} is lost ({condition}), and the worker with it."
    )


def _state(statuses: Sequence[Mapping[str, Any]] | None, kind: str, name: str = WORKER) -> Mapping[str, Any] | None:
    for status in statuses or ():
        if status.get("name") == name:
            found: Mapping[str, Any] | None = (status.get("state") or {}).get(kind)
            return found
    return None


def _waiting(status: Mapping[str, Any], bound: bool) -> tuple[str, Outcome.ValueType, bool]:
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = (container.get("state") or {}).get("waiting") or {}
        reason = state.get("reason", "")
        text = _text(reason, state.get("message", ""))
        if reason in _IMAGE_REASONS:
            return text, Outcome.OUTCOME_IMAGE_PULL_FAILED, reason in _HOPELESS
        if reason in _CONFIG_REASONS:
            return text, Outcome.OUTCOME_CONFIG_ERROR, False
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            text = _text(condition.get("reason", ""), condition.get("message", ""))
            return text, Outcome.OUTCOME_NEVER_SCHEDULED, False
    if bound:
        return PREPARED, Outcome.OUTCOME_LAUNCH_FAILED, False
    return SCHEDULED, Outcome.OUTCOME_NEVER_SCHEDULED, False


def legacy_end(manifest: Mapping[str, Any]) -> Exit | None:
    """How the legacy container died before it was restarted; None while the kubelet has not said so.

    With control groups of version 2 the kernel kills a whole container when its memory runs out (the kubelet's
    `singleProcessOOMKill`), so nobody in it can say why its command ended.
    """
    for container in (manifest.get("status") or {}).get("initContainerStatuses") or ():
        if container.get("name") == LEGACY:
            ended = (container.get("lastState") or {}).get("terminated")
            ended = ended or (container.get("state") or {}).get("terminated")
            if ended is not None and ended.get("reason") == "OOMKilled":
                return _out_of_memory(ended.get("exitCode"), _is_limited(manifest.get("spec") or {}, LEGACY))
            return None if ended is None else Exit(exit_code=ended.get("exitCode"))
    return None


def has_legacy(manifest: Mapping[str, Any]) -> bool:
    """Whether the pod has a legacy container beside its worker."""
    containers = (manifest.get("spec") or {}).get("initContainers") or ()
    return any(container.get("name") == LEGACY for container in containers)


def _is_limited(spec: Mapping[str, Any], name: str = WORKER) -> bool:
    """Whether a container of the pod has a memory limit; True where the pod does not say."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [each.get("resources") or {} for each in containers if each.get("name") == name]
    limits = [(each.get("limits") or {}).get("memory") for each in (*resources, spec.get("resources") or {})]
    return not resources or any(limits)


def _out_of_memory(code: int | None, limited: bool) -> Exit:
    if limited:
        outcome, what = Outcome.OUTCOME_OUT_OF_MEMORY, "at its memory limit; raise limit_memory or use less."
    else:
        outcome = Outcome.OUTCOME_NODE_OUT_OF_MEMORY
        what = "because its node's memory ran out: it has no limit of its own. Set request_memory and limit_memory."
    return Exit(exit_code=code or 137, outcome=outcome, message=f"The kernel killed the container {what}")


def _exit(status: Mapping[str, Any], deleting: bool, limited: bool, ended: Mapping[str, Any] | None = None) -> Exit:
    ended = ended or _state(status.get("containerStatuses"), "terminated")
    code = None if ended is None else ended.get("exitCode")
    disrupted = _disruption(status)
    if disrupted is not None:
        return Exit(exit_code=code, outcome=disrupted[0], message=disrupted[1])
    if ended is not None:
        reason, message = ended.get("reason", ""), ended.get("message", "")
        if reason == "OOMKilled":
            return _out_of_memory(code, limited)
        if reason in _START_REASONS:
            return Exit(exit_code=code, outcome=Outcome.OUTCOME_CONFIG_ERROR, message=_text(reason, message))
        if deleting and code in (137, 143):
            return Exit(
                exit_code=code,
                outcome=Outcome.OUTCOME_DELETED,
                message="The pod was deleted by someone, and the worker ended with it.",
            )
        number = code - 128 if code is not None and code > 128 else ended.get("signal") or None
        return Exit(exit_code=None if number else code, signal=number)
    for container in status.get("initContainerStatuses") or ():
        state = (container.get("state") or {}).get("terminated") or {}
        if state.get("exitCode"):
            what = _text(state.get("reason", ""), state.get("message", ""))
            return Exit(launch_error=f"init container {container.get('name')} failed with {state['exitCode']}: {what}")
    return Exit(
        launch_error=_text(status.get("reason", ""), status.get("message", "")) or "the pod ended without its worker"
    )


def _disruption(status: Mapping[str, Any]) -> tuple[Outcome.ValueType, str] | None:
    """Ends that the cluster brought about, by the pod's reason or its DisruptionTarget condition."""
    reason, message = status.get("reason", ""), status.get("message", "")
    text = _text(reason, message)
    if reason == "DeadlineExceeded":
        return Outcome.OUTCOME_TIMED_OUT, text
    if reason == "Evicted":
        return _evicted(message), text
    if reason in ("Preempting", "Preempted"):
        return Outcome.OUTCOME_PREEMPTED, text
    if reason == "NodeLost":
        return Outcome.OUTCOME_NODE_LOST, text
    if reason in ("NodeShutdown", "Shutdown", "Terminated"):
        return Outcome.OUTCOME_EVICTED, text
    for condition in status.get("conditions") or ():
        if condition.get("type") != "DisruptionTarget" or condition.get("status") != "True":
            continue
        cause, text = condition.get("reason", ""), _text(condition.get("reason", ""), condition.get("message", ""))
        outcome = {
            "PreemptionByScheduler": Outcome.OUTCOME_PREEMPTED,
            "PreemptionByKubeScheduler": Outcome.OUTCOME_PREEMPTED,
            "DeletionByTaintManager": Outcome.OUTCOME_NODE_LOST,
            "DeletionByPodGC": Outcome.OUTCOME_NODE_LOST,
            "EvictionByEvictionAPI": Outcome.OUTCOME_EVICTED,
            "TerminationByKubelet": Outcome.OUTCOME_EVICTED,
        }.get(cause)
        if outcome == Outcome.OUTCOME_EVICTED:
            outcome = _evicted(condition.get("message", ""))
        if outcome is not None:
            return outcome, text
    return None


def _evicted(message: str) -> Outcome.ValueType:
    memory = "low on resource: memory" in message or "MemoryPressure" in message
    return Outcome.OUTCOME_NODE_OUT_OF_MEMORY if memory else Outcome.OUTCOME_EVICTED


def _text(reason: str, message: str) -> str:
    return ": ".join(part for part in (reason, " ".join(message.split())) if part)[:_MAX_TEXT]
