"""Tasks that wait for other runs hold no worker and ask nobody: the executor tells their triggers what changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from spinner.core.values import encode_json
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

SDK = "spinner.runtime.runner:run_local"
DAY = datetime(2026, 3, 1, tzinfo=UTC)
DAG_FILE = """
from datetime import datetime, timezone
from spinner import DAG
from spinner.operators.trigger_dagrun import TriggerDagRunOperator
from spinner.sensors import ExternalTaskSensor

ACCESS = {"team": {"can_dag_read", "can_dag_edit"}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    for n in range(4):
        ExternalTaskSensor(task_id=f"sensor{n}", external_dag_id="other", external_task_id="x", deferrable=True,
                           failed_states=["failed"], timeout=600)
    TriggerDagRunOperator(task_id="start", trigger_dag_id="other", wait_for_completion=True, deferrable=True)
"""


class Others:
    """Runs of another DAG, as a scheduler would tell of them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        headers = {"spinner-cluster": "spinner", "spinner-tier": "1", "spinner-partition": "0"}
        headers["spinner-dag-id"] = "other"
        definition = DagDefinition(dag_id="other")
        stage.producer.send(Outgoing("workflow_definitions", "other@1", definition, headers=headers))
        stage.producer.flush()

    def tell(self, run_id: str, created: datetime | None = None, task: str = "", run: str = "") -> None:
        step = WorkflowEvents(dag_id="other", run_id=run_id)
        if created is not None:
            step.events.add().run_created.logical_date.FromDatetime(created)
        if task:
            changed = step.events.add().task_state_changed
            changed.task_id, changed.map_index = "x", -1
            changed.state = c.TaskState.Value(f"TASK_STATE_{task}")
        if run:
            step.events.add().run_state_changed.state = c.RunState.Value(f"RUN_STATE_{run}")
        self._stage.producer.send(Outgoing("workflow_events-spinner_tier_1", f"other/{run_id}", step, 0))

    def flush(self) -> None:
        self._stage.producer.flush()


@pytest.fixture
def others(stage: Stage) -> Others:
    return Others(stage)


def defer(stage: Stage, order: o.TaskOrder) -> None:
    """Orders a deferral as the scheduler does, from the worker's report."""
    deferred = stage.wait(order, "deferred").deferred
    order.desired_state, order.segment = o.DESIRED_STATE_DEFERRED, 1
    order.trigger_class, order.trigger_arguments_json = deferred.trigger_class, deferred.trigger_arguments_json
    order.resume_method, order.resume_arguments_json = deferred.method_name, deferred.method_arguments_json
    stage.write(order)


def resume(stage: Stage, order: o.TaskOrder) -> None:
    fired = stage.wait(order, "trigger_fired").trigger_fired
    assert not fired.error
    order.desired_state, order.segment = o.DESIRED_STATE_RUNNING, 2
    order.resume_event_json = fired.payload_json
    stage.write(order)


def test_a_thousand_waiting_sensors_need_no_worker(stage: Stage, others: Others) -> None:
    executor = stage.executor()
    orders = []
    for n in range(1000):
        order = stage.order(f"t{n}")
        order.desired_state, order.segment = o.DESIRED_STATE_DEFERRED, 1
        order.trigger_class = "spinner.triggers.external.ExternalTaskTrigger"
        order.trigger_arguments_json = encode_json(
            {"dag_id": "other", "logical_dates": [DAY + timedelta(n % 500)], "task_ids": ["x"],
             "stop_states": ["failed"]}, "arguments",
        )  # fmt: skip
        orders.append(order)
    stage.write(*orders)
    for n in range(500):
        others.tell(f"r{n}", created=DAY + timedelta(n), task="RUNNING", run="RUNNING")
    others.flush()
    others.tell("r0", task="SUCCESS")
    others.tell("r1", task="FAILED")
    others.flush()
    first = {orders[0].try_key.task_id, orders[1].try_key.task_id, "t500", "t501"}

    def fired() -> set[str]:
        return {r.try_key.task_id for r in stage.poll() if r.WhichOneof("kind") == "trigger_fired"}

    until(lambda: fired() == first, "those of two runs have fired, and no other")
    executor.terminate()
    executor.wait(20)
    for n in range(2, 500):  # while nobody is there
        others.tell(f"r{n}", task="SUCCESS")
    others.flush()
    stage.executor()
    until(lambda: len(fired()) == 1000, "all have fired", 30)
    events = {
        r.try_key.task_id: r.trigger_fired.payload_json
        for r in stage.reports
        if r.WhichOneof("kind") == "trigger_fired"
    }
    assert b'"failed"' in events["t1"]
    assert b'"failed"' in events["t501"]
    assert all(event == b"{}" for name, event in events.items() if name not in ("t1", "t501"))
    assert {r.WhichOneof("kind") for r in stage.reports} == {"trigger_fired"}  # nothing was launched


def test_a_sensor_costs_two_workers_however_long_it_waits(stage: Stage, others: Others) -> None:
    stage.executor(executor_entry=SDK)
    bundle = stage.bundle(dag=DAG_FILE)
    orders = [stage.order(f"sensor{n}", bundle, "dag.py") for n in range(4)]
    for n, order in enumerate(orders):
        order.logical_date.FromDatetime(DAY + timedelta(n))
    stage.write(*orders)
    for order in orders:
        defer(stage, order)
    for n in range(4):
        others.tell(f"r{n}", created=DAY + timedelta(n), task="SCHEDULED")
    for state in ("QUEUED", "RUNNING", "UP_FOR_RETRY", "QUEUED", "RUNNING"):
        for n in range(4):
            others.tell(f"r{n}", task=state)
        others.flush()
    for n in range(4):
        others.tell(f"r{n}", task="FAILED" if n == 3 else "SUCCESS")
    others.flush()
    for order in orders:
        resume(stage, order)
    ends = [stage.wait(order).ended for order in orders]
    assert [end.outcome for end in ends] == [c.OUTCOME_SUCCESS] * 3 + [c.OUTCOME_FAILED]
    assert "other at 2026-03-04T00:00:00+00:00 is failed" in ends[3].message
    assert [len(stage.of(order, "started")) for order in orders] == [2] * 4


def test_a_run_that_was_started_is_waited_for_without_a_worker(stage: Stage, others: Others) -> None:
    stage.executor(executor_entry=SDK)
    order = stage.order("start", stage.bundle(dag=DAG_FILE), "dag.py")
    order.logical_date.FromDatetime(DAY)
    stage.write(order)
    defer(stage, order)
    (command,) = stage.commands
    run_id = command.trigger_run.run_id
    others.tell(run_id, created=DAY, run="QUEUED")
    others.flush()
    others.tell(run_id, run="RUNNING")
    others.flush()
    others.tell(run_id, run="SUCCESS")
    others.flush()
    resume(stage, order)
    assert stage.wait(order).ended.outcome == c.OUTCOME_SUCCESS
    assert len(stage.of(order, "started")) == 2
