"""A secret that a pod got from one executor stays masked in what the next one, on another machine, shows and stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from places import KubernetesPlace
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.portal.v1.portal_pb2 import Variable
from spinner_servers.kubernetes import Cluster
from stage import Stage, until

pytestmark = pytest.mark.kubernetes
SECRET = "hunter2hunter2"
DAG_FILE = """
import os, pathlib, signal, time
from datetime import datetime, timezone
from spinner import DAG, Variable
from spinner.operators.python import PythonOperator

FOLDER = pathlib.Path({folder!r})

def tells(dies):
    password = Variable.get("password")
    print("it is", password)
    (FOLDER / "told").touch()
    while not (FOLDER / "go").exists():
        time.sleep(0.02)
    print("it is still", password, flush=True)
    if dies:
        while not (FOLDER / "die").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)

ACCESS = {{"team": {{"can_dag_read", "can_dag_edit"}}}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    PythonOperator(task_id="ends", python_callable=tells, op_args=[False])
    PythonOperator(task_id="dies", python_callable=tells, op_args=[True])
"""


@pytest.fixture
def place(kubernetes_api: Cluster) -> Iterator[KubernetesPlace]:
    made = KubernetesPlace(kubernetes_api)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("task_id", "outcome"), [("ends", c.OUTCOME_SUCCESS), ("dies", c.OUTCOME_CRASHED)], ids=["ends", "dies"]
)
def test_a_secret_stays_masked_after_a_takeover_with_another_disk(
    stage: Stage, place: KubernetesPlace, task_id: str, outcome: c.Outcome, tmp_path: Path
) -> None:
    key = Fernet.generate_key()
    stage.settings["secret_key"] = key.decode()
    value = Fernet(key).encrypt(SECRET.encode()).decode()
    stage.producer.send(Outgoing("variables", "password", Variable(name="password", value=value, encrypted=True)))
    stage.producer.flush()
    first = stage.executor("one")
    order = stage.order(task_id, stage.bundle(dag=DAG_FILE.format(folder=str(tmp_path))), "dag.py")
    stage.write(order)
    until(lambda: (tmp_path / "told").exists(), "it has the secret", 60)
    first.kill()
    first.wait()
    stage.executor("two")
    (tmp_path / "go").touch()
    # The simulated node keeps no logs: what the worker sends is all there is of one that dies.
    sent = (tmp_path / "two" / "tries").glob
    until(lambda: any("it is still" in log.read_text() for log in sent("*/*/log")) or stage.of(order, "ended"), "sent")
    (tmp_path / "die").touch()
    ended = stage.wait(order, seconds=60).ended
    log = stage.log_of(ended).decode()
    assert ended.outcome == outcome, log
    assert "it is **************" in log and "it is still **************" in log
    assert SECRET not in log
    topic = b"".join(r.value or b"" for n in range(2) for r in stage.log.read_all("task_logs-spinner", n))
    assert SECRET.encode() not in topic
    grants = [
        r.value or b""
        for n in range(stage.partitions)
        for r in stage.log.read_all("task_grants-spinner", n, uncommitted=True)
    ]
    assert grants and not any(SECRET.encode() in grant for grant in grants)
