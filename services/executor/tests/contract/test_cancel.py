"""Cancelling a try, wherever it lives: on_kill runs, whole process trees end, and what has no worker needs none."""

from __future__ import annotations

import time
from pathlib import Path

from places import Place
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.orders.v1 import orders_pb2 as o
from stage import Stage, until

SECONDS = 120.0
DAG_FILE = """
import signal, time
from datetime import datetime, timezone
from spinner import DAG
from spinner.operators.bash import BashOperator
from spinner.operators.python import PythonOperator

# Each process writes again and again while it lives; all but the first have no ear for SIGTERM.
FAMILY = '''
beat() {{ while :; do date +%s%N > {folder}/beat-$1; sleep 0.1; done; }}
session() {{ python3 -c 'import os, sys; os.setsid(); os.execvp("bash", ["bash", "-c", sys.argv[1]])' "$1"; }}
export -f beat session
session 'trap "" TERM; beat session' &
bash -c 'trap "" TERM; beat deaf' &
bash -c '(trap "" TERM; session "beat grandchild") & wait' &
beat plain
'''

class Shell(BashOperator):
    def on_kill(self):
        print("on_kill runs", flush=True)
        super().on_kill()

def deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    while True:
        with open("{folder}/beat-python", "w") as file:
            file.write(str(time.monotonic()))
        time.sleep(0.1)

ACCESS = {{"team": {{"can_dag_read", "can_dag_edit"}}}}
with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None, tier=1, access_control=ACCESS):
    Shell(task_id="family", bash_command=FAMILY, executor_config={{"kill_grace_seconds": 3}})
    PythonOperator(task_id="deaf", python_callable=deaf, executor_config={{"kill_grace_seconds": 1}})
"""
WAITS = """
import asyncio
from pathlib import Path
from spinner.triggers import BaseTrigger
class Never(BaseTrigger):
    def __init__(self, folder):
        self.folder = Path(folder)
    async def run(self):
        (self.folder / "waits").touch()
        await asyncio.sleep(3600)
        yield
    async def cleanup(self):
        (self.folder / "cleaned").touch()
"""


def hearts(folder: Path) -> dict[str, str]:
    return {path.name.removeprefix("beat-"): path.read_text() for path in folder.glob("beat-*")}


def all_beat(folder: Path, names: set[str]) -> None:
    until(lambda: set(hearts(folder)) == names, f"{names} live", SECONDS)


def nobody_beats(folder: Path) -> None:
    before = hearts(folder)
    time.sleep(0.5)  # five beats
    assert hearts(folder) == before


def cancel(stage: Stage, order: o.TaskOrder) -> None:
    order.desired_state = o.DESIRED_STATE_CANCELLED
    stage.write(order)


def test_on_kill_runs_and_sessions_and_deaf_processes_end(stage: Stage, place: Place, tmp_path: Path) -> None:
    stage.executor()
    order = stage.order("family", stage.bundle(dag=DAG_FILE.format(folder=tmp_path)), "dag.py")
    order.resources_json = '{"kill_grace_seconds": 3}'
    stage.write(order)
    all_beat(tmp_path, {"session", "deaf", "grandchild", "plain"})
    cancel(stage, order)
    ended = stage.wait(order, seconds=SECONDS).ended
    assert ended.outcome == c.OUTCOME_KILLED_BY_USER
    assert b"on_kill runs" in stage.log_of(ended)
    until(lambda: not place.left(), "nothing of the try is left", SECONDS)
    nobody_beats(tmp_path)


def test_a_worker_without_an_ear_for_sigterm_is_killed_after_its_grace(
    stage: Stage, place: Place, tmp_path: Path
) -> None:
    stage.executor()
    order = stage.order("deaf", stage.bundle(dag=DAG_FILE.format(folder=tmp_path)), "dag.py")
    order.resources_json = '{"kill_grace_seconds": 1}'
    stage.write(order)
    all_beat(tmp_path, {"python"})
    cancel(stage, order)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_KILLED_BY_USER
    until(lambda: not place.left(), "nothing of the try is left", SECONDS)
    nobody_beats(tmp_path)


def test_a_deferred_try_is_cancelled_without_a_worker(stage: Stage, place: Place, tmp_path: Path) -> None:
    stage.executor()
    order = stage.order("stuck", stage.bundle(waits=WAITS))
    order.desired_state, order.segment = o.DESIRED_STATE_DEFERRED, 1
    order.trigger_class, order.trigger_arguments_json = "waits.Never", f'{{"folder": "{tmp_path}"}}'.encode()
    stage.write(order)
    until((tmp_path / "waits").exists, "the trigger waits", SECONDS)
    cancel(stage, order)
    assert stage.wait(order, seconds=SECONDS).ended.outcome == c.OUTCOME_KILLED_BY_USER
    until((tmp_path / "cleaned").exists, "the trigger has tidied up", SECONDS)
    assert not stage.of(order, "launched")
    until(lambda: not place.left(), "nothing of the try is left", SECONDS)
