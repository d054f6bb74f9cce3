"""Sensors in their modes, deferrals, and waiting for other runs: a worker for each try, against a fake executor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from spinner.core.values import encode_json
from spinner.triggers import load_trigger
from spinner_proto.common.v1 import common_pb2 as common
from spinner_proto.runtime.v1 import runtime_pb2 as pb

SENSOR = """
from spinner.sensors import *
with DAG("d", **OPTIONS):
    @task.sensor(poke_interval=0.01, timeout={timeout}, mode="{mode}", soft_fail={soft})
    def t(ti):
        import os
        if os.path.exists("{file}"):
            from spinner.sensors import PokeReturnValue
            return PokeReturnValue(True, "found")
        open("{file}" if {create} else os.devnull, "w").close()
        return False
    t()
"""


def sensor(executor, timeout=60.0, mode="poke", soft=False, create=True) -> str:
    values = {"timeout": timeout, "mode": mode, "soft": soft, "create": create, "file": executor.folder / "f"}
    source = SENSOR
    for name, value in values.items():
        source = source.replace("{" + name + "}", str(value))
    return source


def test_sensor_pokes_until_true(executor):
    assert executor.run(sensor(executor)).outcome == "success"
    assert executor.xcom("t") == "found"


def test_sensor_reschedules(executor):
    result = executor.run(sensor(executor, mode="reschedule"))
    assert result.finish.HasField("rescheduled")
    assert executor.run(sensor(executor, mode="reschedule"), segment=1).outcome == "success"


def test_a_sensor_without_a_trigger_passes_its_pauses_in_the_triggerer(executor):
    source = """
@task.sensor(deferrable=True, poke_interval=30, timeout=3600)
def t():
    return PATH.exists()
with DAG("d", **OPTIONS):
    t()
""".replace("PATH", f"__import__('pathlib').Path({str(executor.folder / 'found')!r})")
    deferred = executor.run(source).finish.deferred
    trigger = load_trigger(deferred.trigger_class, deferred.trigger_arguments_json)
    assert 0 < (trigger.moment - datetime.now(UTC)).total_seconds() <= 30
    resumed = {"segment": 1, "resume_method": deferred.method_name, "resume_event_json": b"null"}
    assert executor.run(source, **resumed).finish.HasField("deferred")
    (executor.folder / "found").touch()
    assert executor.run(source, **resumed).outcome == "success"


def test_sensor_time_out_counts_from_the_first_segment(executor):
    first = {"first_start_time": datetime.now(UTC) - timedelta(hours=1), "segment": 3}
    source = sensor(executor, timeout=600, mode="reschedule", create=False)
    assert "longer than its timeout" in executor.run(source, **first).ended.message
    soft = sensor(executor, timeout=600, mode="reschedule", create=False, soft=True)
    assert executor.run(soft, **first).outcome == "skipped"


DEFERRED = """
from spinner.sensors import DateTimeSensor
with DAG("d", **OPTIONS):
    DateTimeSensor(task_id="t", target_time="2099-01-01T00:00:00+00:00", deferrable=True, timeout=100)
"""


def test_deferral_and_resume(executor):
    deferred = executor.run(DEFERRED).finish.deferred
    trigger = load_trigger(deferred.trigger_class, deferred.trigger_arguments_json)
    assert trigger.moment == datetime(2099, 1, 1, tzinfo=UTC)
    assert 99 < deferred.timeout.ToTimedelta().total_seconds() <= 100
    resumed = {"segment": 1, "resume_method": deferred.method_name, "resume_event_json": b"null"}
    assert executor.run(DEFERRED, **resumed).outcome == "success"


def test_a_late_trigger_is_a_sensor_timeout(executor):
    result = executor.run(DEFERRED, segment=1, resume_method="execute_complete", resume_error="timeout")
    assert "SensorTimeout" in result.ended.message


def test_resume_arguments_are_typed(executor):
    source = """
from spinner.triggers.temporal import TimeDeltaTrigger
class Op(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="later",
                   kwargs={"day": datetime(2026, 1, 1, tzinfo=UTC)})
    def later(self, context, event, day):
        return [event, day]
with DAG("d", **OPTIONS):
    Op(task_id="t")
"""
    deferred = executor.run(source).finish.deferred
    executor.run(
        source, segment=1, resume_method="later", resume_arguments_json=deferred.method_arguments_json,
        resume_event_json=b'{"n":1}',
    )  # fmt: skip
    assert executor.xcom("t") == [{"n": 1}, datetime(2026, 1, 1, tzinfo=UTC)]


def test_trigger_dag_run_waits(executor):
    source = """
from spinner.operators.trigger_dagrun import TriggerDagRunOperator
with DAG("d", **OPTIONS):
    TriggerDagRunOperator(task_id="t", trigger_dag_id="other", conf={"day": "{{ ds }}"}, wait_for_completion=True,
                          poke_interval=0.01, deferrable=DEFER)
"""
    executor.run_states = [common.RUN_STATE_RUNNING, common.RUN_STATE_SUCCESS]
    assert executor.run(source.replace("DEFER", "False")).outcome == "success"
    assert executor.triggered[0].conf_json == b'{"day": "2026-03-01"}'
    executor.run_states = [common.RUN_STATE_RUNNING]
    deferred = executor.run(source.replace("DEFER", "True")).finish.deferred
    executor.run_states = [common.RUN_STATE_FAILED]
    resumed = executor.run(
        source.replace("DEFER", "True"), segment=1, resume_method=deferred.method_name,
        resume_arguments_json=deferred.method_arguments_json, resume_event_json=b'{"state":"failed"}',
    )  # fmt: skip
    assert resumed.outcome == "failed"
    assert "is failed" in resumed.ended.message
    assert len(executor.triggered) == 2


def test_a_run_that_exists_already_fails_skips_or_starts_again(executor):
    source = """
from spinner.operators.trigger_dagrun import TriggerDagRunOperator
with DAG("d", **OPTIONS):
    TriggerDagRunOperator(task_id="t", trigger_dag_id="other", trigger_run_id="one", MORE)
"""
    executor.existing_runs, executor.trigger_pending = {"one"}, 2
    failed = executor.run(source.replace("MORE", ""))
    assert failed.outcome == "failed" and "run one of other exists already" in failed.ended.message
    assert len(executor.triggered) == 3  # it asked again until it was answered
    assert executor.run(source.replace("MORE", "skip_when_already_exists=True")).outcome == "skipped"
    assert executor.run(source.replace("MORE", "reset_dag_run=True")).outcome == "success"
    both = source.replace("MORE", "reset_dag_run=True, skip_when_already_exists=True")
    assert executor.run(both).outcome == "success"
    assert [request.reset for request in executor.triggered] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("wanted", "dag_id", "problem"),
    [
        ('external_task_id="x"', "other", ""),
        ('external_task_id="z"', "other", "The external task 'z' in DAG 'other' does not exist"),
        ('external_task_ids=["x", "z"]', "other", "The external task 'z'"),
        ('external_task_group_id="g"', "other", ""),
        ('external_task_group_id="h"', "other", "The external task group 'h' in DAG 'other' does not exist"),
        ('external_task_id="z"', "dynamic", ""),
        ('external_task_id="x"', "nowhere", "The external DAG 'nowhere' does not exist"),
        ('external_task_id="x"', "gone", "The external DAG 'gone' was removed"),
    ],
)
def test_a_sensor_may_check_that_what_it_waits_for_exists(executor, wanted: str, dag_id: str, problem: str):
    source = f"""
from spinner.sensors import ExternalTaskSensor
with DAG("d", **OPTIONS):
    ExternalTaskSensor(task_id="t", external_dag_id="{dag_id}", {wanted}, check_existence=True, MORE)
"""
    tasks = [pb.DagTask(task_id="x", group_ids=["g"]), pb.DagTask(task_id="y")]
    executor.dags["other"] = pb.GetDagResponse(found=True, tasks_known=True, tasks=tasks, group_ids=["g"])
    executor.dags["dynamic"] = pb.GetDagResponse(found=True)
    executor.dags["gone"] = pb.GetDagResponse(removed=True)
    name = "z" if dag_id == "dynamic" else "x"
    done = pb.GetTaskStatesResponse(
        run_found=True, states=[pb.TaskInstanceState(task_id=name, state="TASK_STATE_SUCCESS")]
    )
    for deferrable in ("", "deferrable=True"):
        executor.task_states = [done]
        ended = executor.run(source.replace("MORE", deferrable))
        assert (ended.outcome, problem in ended.ended.message) == ("failed" if problem else "success", True)
    executor.task_states = [done]
    assert executor.run(source.replace("MORE", "soft_fail=True")).outcome == ("skipped" if problem else "success")


def test_external_task_sensor(executor):
    source = """
from spinner.sensors import ExternalTaskSensor
with DAG("d", **OPTIONS):
    ExternalTaskSensor(task_id="t", external_dag_id="other", external_task_id="x", poke_interval=0.01,
                       failed_states=["failed"])
"""

    def states(*names):
        return pb.GetTaskStatesResponse(
            run_found=True, states=[pb.TaskInstanceState(task_id="x", state=f"TASK_STATE_{name}") for name in names]
        )

    executor.task_states = [pb.GetTaskStatesResponse(), states("RUNNING"), states("SUCCESS")]
    assert executor.run(source).outcome == "success"
    executor.task_states = [states("FAILED")]
    assert "is failed" in executor.run(source).ended.message


def test_a_deferred_external_task_sensor_goes_on_with_the_state_that_ended_its_wait(executor):
    source = """
from spinner.sensors import ExternalTaskSensor
with DAG("d", **OPTIONS):
    ExternalTaskSensor(task_id="t", external_dag_id="other", external_task_id="x", deferrable=True, timeout=100,
                       failed_states=["failed"], skipped_states=["skipped"], soft_fail=SOFT)
"""
    hard, soft = source.replace("SOFT", "False"), source.replace("SOFT", "True")
    executor.task_states = [pb.GetTaskStatesResponse()]
    deferred = executor.run(hard).finish.deferred
    assert deferred.trigger_class == "spinner.triggers.external.ExternalTaskTrigger"
    assert 99 < deferred.timeout.ToTimedelta().total_seconds() <= 100

    def resumed(text, **event):
        if event:
            event["logical_date"] = datetime(2026, 1, 1, tzinfo=UTC)
        return executor.run(
            text, segment=1, resume_method="execute_complete", resume_event_json=encode_json(event, "event")
        )

    assert resumed(hard).outcome == "success"
    assert "other at 2026-01-01T00:00:00+00:00 is failed" in resumed(hard, state="failed").ended.message
    assert resumed(hard, state="skipped").outcome == "skipped"
    assert resumed(soft, state="failed").outcome == "skipped"
    late = executor.run(hard, segment=1, resume_method="execute_complete", resume_error="timeout")
    assert "SensorTimeout" in late.ended.message
