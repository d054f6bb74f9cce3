"""The real task runtime behind the executor: a DAG file of the SDK runs, with XComs, variables and masking."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.fernet import Fernet
from spinner.core.params import Param, ParamsDict
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TaskDefinition
from spinner_proto.portal.v1.portal_pb2 import Connection, Variable
from stage import Stage, until

DAG_FILE = """
from datetime import datetime, timezone
from spinner import DAG, Variable, task
from spinner.operators.trigger_dagrun import TriggerDagRunOperator
from spinner.sensors import ExternalTaskSensor

ACCESS = {"team": {"can_dag_read", "can_dag_edit"}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    @task
    def make():
        import os
        print("password is", Variable.get("password"), "key is", os.environ.get("SPINNER_SECRET_KEY"))
        Variable.set("seen", "yes")
        return {"rows": 3}

    @task
    def use(made):
        print("rows:", made["rows"])

    @task
    def fail():
        raise ValueError("no such table")

    use(make())
    fail()
    TriggerDagRunOperator(task_id="other", trigger_dag_id="target", conf={"a": 1})
    ways = {"again": {}, "skips": {"skip_when_already_exists": True}, "resets": {"reset_dag_run": True}}
    for name, more in ways.items():
        TriggerDagRunOperator(task_id=name, trigger_dag_id="target", trigger_run_id="one", conf={"a": 1}, **more)
    for name, task_id in {"there": "x", "missing": "z"}.items():
        ExternalTaskSensor(task_id=name, external_dag_id="target", external_task_id=task_id, check_existence=True,
                           mode="reschedule")
    TriggerDagRunOperator(task_id="wrong", trigger_dag_id="target", conf={"a": "one"})
"""


def test_a_dag_file_runs_with_the_real_runtime(stage: Stage, tmp_path: Path) -> None:
    key = Fernet.generate_key()
    secret = Fernet(key).encrypt(b"hunter2hunter2").decode()
    stage.producer.send(Outgoing("variables", "password", Variable(name="password", value=secret, encrypted=True)))
    stage.producer.send(Outgoing("connections", "db", Connection(connection_id="db", type="postgres", host="h")))
    headers = {
        "spinner-cluster": "spinner",
        "spinner-tier": "1",
        "spinner-partition": "0",
        "spinner-dag-id": "target",
        "spinner-params": "1",
        "spinner-version": "1",
    }
    params = ParamsDict({"a": Param(type="integer", description="How many"), "b": 2}).dump()
    target = DagDefinition(dag_id="target", params_json=json.dumps(params), tasks=[TaskDefinition(task_id="x")])
    stage.producer.send(Outgoing("workflow_definitions", "target@1", target, headers=headers))
    stage.producer.flush()
    bundle = stage.bundle(dag=DAG_FILE)
    stage.executor(executor_entry="spinner.runtime.runner:run_local", secret_key=key.decode())
    make, use, fail = (stage.order(name, bundle, "dag.py") for name in ("make", "use", "fail"))
    stage.write(make)
    ended = stage.wait(make).ended
    log = stage.log_of(ended).decode()
    assert ended.outcome == c.OUTCOME_SUCCESS, log
    assert "password is ************** key is None" in log
    assert "hunter2" not in log
    assert json.loads(stage.store.get(f"xcom/d/{stage.run_id}/make/-1/return_value.json")) == {"rows": 3}
    assert [s.stage for s in ended.stages] == sorted(s.stage for s in ended.stages)
    stage.write(use, fail)
    assert "rows: 3" in stage.log_of(stage.wait(use).ended).decode()
    failed = stage.wait(fail).ended
    assert failed.outcome == c.OUTCOME_FAILED
    assert "no such table" in failed.message
    assert failed.exception_classes
    other, wrong = stage.order("other", bundle, "dag.py"), stage.order("wrong", bundle, "dag.py")
    stage.write(other, wrong)
    assert stage.wait(other).ended.outcome == c.OUTCOME_SUCCESS
    refused = stage.wait(wrong).ended
    assert refused.outcome == c.OUTCOME_FAILED
    # Nothing of it is written: its command is none of those below.
    assert "parameter 'a' of DAG 'target': 'one' is not of type integer" in refused.message
    assert "How many. Its schema: type" in refused.message
    (command,) = stage.commands
    assert command.dag_id == "target"
    assert command.trigger_run.run_id.startswith("triggered__")
    assert json.loads(command.trigger_run.conf.inline) == {"a": 1}
    stage.existing_runs.add("one")
    again, skips, resets = (stage.order(name, bundle, "dag.py") for name in ("again", "skips", "resets"))
    stage.write(again, skips, resets)
    exists = stage.wait(again).ended
    assert exists.outcome == c.OUTCOME_FAILED and "run one exists already" in exists.message
    assert stage.wait(skips).ended.outcome == c.OUTCOME_SKIPPED
    assert stage.wait(resets).ended.outcome == c.OUTCOME_SUCCESS
    assert [command.clear_tasks.run_id for command in stage.commands if command.HasField("clear_tasks")] == ["one"]
    there, missing = stage.order("there", bundle, "dag.py"), stage.order("missing", bundle, "dag.py")
    stage.write(there, missing)
    assert "external task 'z' in DAG 'target' does not exist" in stage.wait(missing).ended.message
    stage.wait(there, "rescheduled")
    stage.tombstone(there)
    until(lambda: not list((tmp_path / "data" / "tries").glob("*/*")), "all folders are removed")
