"""A migrated job's command runs in its legacy image, in one pod with the worker; the two end together."""

from __future__ import annotations

import json
import signal

import pytest
from node_place import NodePlace
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1.inbox_pb2 import TaskEnded
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_servers import worker_image
from stage import Stage, until

SECONDS = 180.0
pytestmark = pytest.mark.kubernetes


@pytest.fixture
def place(node_place: NodePlace) -> NodePlace:
    return node_place


class Jobs:
    """Orders of migrated jobs."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, name: str, command: str, **resources: object) -> o.TaskOrder:
        asked = {
            "legacy_image": worker_image.LEGACY,
            "volume_mounts": [{"name": "shared", "mountPath": str(self._stage.folder)}],
            **resources,
        }
        return self._stage.order(name, runtime="pinball", command=command, resources_json=json.dumps(asked))

    def end(self, order: o.TaskOrder) -> TaskEnded:
        return self._stage.wait(order, seconds=SECONDS).ended

    def log(self, ended: TaskEnded) -> str:
        return self._stage.log_of(ended).decode()

    def runs(self) -> None:
        until((self._stage.folder / "runs").exists, "the command runs", SECONDS)


@pytest.fixture
def jobs(stage: Stage) -> Jobs:
    return Jobs(stage)


def nothing_left(place: NodePlace) -> None:
    until(lambda: not place.left(), "pods and tokens are removed", SECONDS)


def test_commands_run_in_the_legacy_image_and_end_as_they_end(stage: Stage, jobs: Jobs, place: NodePlace) -> None:
    stage.executor()
    good = jobs(
        "good",
        "echo in $MODE as $(id -u)\npython3 -c 'import spinner' || echo no Spinner here\n"
        "echo PINBALL:EVENT_ATTR:rows=42\nls /var/run/secrets 2>&1 || true",
        env={"MODE": "legacy"},
    )
    bad = jobs("bad", "echo so far; exit 3")
    hungry = jobs("hungry", "python3 -c 'x = b\"x\" * (1 << 30)'", limit_memory="64Mi")
    stage.write(good, bad, hungry)

    end = jobs.end(good)
    log = jobs.log(end)
    assert end.outcome == c.OUTCOME_SUCCESS, log
    assert "in legacy as 50000" in log and "no Spinner here" in log
    assert "cannot access '/var/run/secrets'" in log  # the worker's token is not for the job
    attributes = stage.store.get(f"xcom/d/{good.try_key.run_id}/good/-1/event_attributes.json")
    assert json.loads(attributes) == {"rows": "42"}

    end = jobs.end(bad)
    assert (end.outcome, end.exit_code) == (c.OUTCOME_FAILED, 3)
    assert "so far" in jobs.log(end)

    end = jobs.end(hungry)
    assert end.outcome == c.OUTCOME_OUT_OF_MEMORY, end.message
    nothing_left(place)


def test_a_cancelled_job_takes_the_legacy_containers_processes_along(
    stage: Stage, jobs: Jobs, place: NodePlace
) -> None:
    stage.executor()
    order = jobs("job", f"trap : TERM; (sleep 5151 &); touch {stage.folder}/runs; while :; do sleep 1; done")
    stage.write(order)
    jobs.runs()
    processes = place.processes(order, "legacy")
    assert len(processes) >= 3
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)
    assert jobs.end(order).outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: not any(process.is_running() for process in processes), "its processes are gone", SECONDS)
    nothing_left(place)


def test_a_legacy_container_that_dies_ends_the_try_and_its_command_runs_once(
    stage: Stage, jobs: Jobs, place: NodePlace
) -> None:
    stage.executor()
    order = jobs("job", f"echo x >> {stage.folder}/times; touch {stage.folder}/runs; sleep 600")
    stage.write(order)
    jobs.runs()
    place.processes(order, "legacy")[0].send_signal(signal.SIGKILL)
    end = jobs.end(order)
    assert end.outcome == c.OUTCOME_CRASHED and "legacy container" in end.message
    assert (stage.folder / "times").read_text() == "x\n"
    nothing_left(place)


def test_a_worker_that_dies_takes_the_legacy_container_along(stage: Stage, jobs: Jobs, place: NodePlace) -> None:
    stage.executor()
    order = jobs("job", f"touch {stage.folder}/runs; sleep 600")
    stage.write(order)
    jobs.runs()
    processes = place.processes(order, "legacy")
    place.kill(order)
    assert jobs.end(order).outcome == c.OUTCOME_CRASHED
    until(lambda: not any(process.is_running() for process in processes), "the command is gone", SECONDS)
    nothing_left(place)
